// From a request's pictures to what members take: decoded once, resized once per distinct image
// spec. Pure functions; thread-safe.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/image.pb.h"
#include "atelier/v1/model.pb.h"
#include "common/vision/decode.h"
#include "services/aggregator/member.h"

namespace atelier::aggregator {

// Views into the request. Either `encoded`, or `pixels`: uint8 [count, height, width, 3], RGB.
struct Pictures {
  std::vector<std::string_view> encoded;
  std::string_view pixels;
  int count = 0;
  int height = 0;  // 0 with `encoded`
  int width = 0;

  int64_t payload_bytes() const;
};

// Distinct image specs of some members, unset fields replaced by their meaning.
struct PreparationPlan {
  std::vector<v1::ImageSpec> specs;
  std::vector<size_t> spec_of_member;  // index into specs

  int64_t bytes_per_picture() const;          // of all specs
  int64_t bytes_per_picture(size_t i) const;  // of member `i`
};
PreparationPlan PlanPreparation(const std::vector<const v1::EnsembleMember*>& members);

// InvalidArgument: byte count and shape differ, empty batch. ResourceExhausted: more than
// `max_pictures`, or decoded pictures over a limit of `limits`.
absl::Status CheckPictures(const Pictures& pictures, int max_pictures,
                           const vision::DecodeLimits& limits = {});

// Room for `count` pictures of each spec; PreparePicture fills in one picture each.
std::vector<std::shared_ptr<Pixels>> MakeRoom(const PreparationPlan& plan, int count);

// Decodes (unless decoded) and resizes picture `index` into its place in every entry of `room`;
// different indexes may run at the same time. InvalidArgument or ResourceExhausted names the index.
absl::Status PreparePicture(const Pictures& pictures, int index, const PreparationPlan& plan,
                            const std::vector<std::shared_ptr<Pixels>>& room,
                            const vision::DecodeLimits& limits = {});

}  // namespace atelier::aggregator
