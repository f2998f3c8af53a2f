// The guard against train/serve skew: one digest of how every member sees a picture.
#pragma once

#include <string>

#include "atelier/v1/model.pb.h"

namespace atelier::ensemble {

// SHA-256 over each member's backbone, scaling and image spec (with unset fields as their meaning),
// members in the order of the version. Stored in a version at publication and compared before
// serving.
std::string PreprocessingDigest(const v1::EnsembleVersion& ensemble);

}  // namespace atelier::ensemble
