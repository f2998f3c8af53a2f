// Open Inference Protocol requests to domain terms. Every check of the protocol's shape is here.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "inference/grpc_predict_v2.pb.h"
#include "services/aggregator/picture_preparation.h"

namespace atelier::aggregator {

constexpr char kImageInput[] = "image";
constexpr char kPixelsInput[] = "pixels";
constexpr char kProbabilitiesOutput[] = "probabilities";
constexpr char kLabelOutput[] = "label";

struct OipRequest {
  Pictures pictures;  // views into the request, or into `owned`
  std::shared_ptr<const std::string> owned;
  bool want_probabilities = true;
  bool want_labels = true;
  std::optional<std::chrono::microseconds> timeout;  // parameter "timeout"
};

// InvalidArgument: names, types, shapes, byte counts, raw and typed contents mixed; the message
// says what was expected and found. ResourceExhausted: N over `max_pictures`. `request` outlives
// the result.
absl::StatusOr<OipRequest> ParseOipRequest(const inference::ModelInferRequest& request,
                                           int max_pictures);

}  // namespace atelier::aggregator
