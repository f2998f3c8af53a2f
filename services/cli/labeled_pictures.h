// The labelled pictures of a local folder, as the data-service understands its layout.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/vision/decode.h"
#include "services/cli/pictures.h"

namespace atelier::cli {

struct LabeledPictures {
  std::vector<PictureFile> files;  // sorted bytewise by name
  std::vector<int> labels;         // index into `classes`
};

// Every labelled picture that decodes, byte-identical copies included (an evaluation counts every
// file). Undecodable ones are said on standard error. InvalidArgument: a class that `classes` (the
// ensemble's) lacks, or no labelled picture.
absl::StatusOr<LabeledPictures> FindLabeledPictures(const std::string& folder,
                                                    const std::vector<std::string>& classes,
                                                    const vision::DecodeLimits& limits);

}  // namespace atelier::cli
