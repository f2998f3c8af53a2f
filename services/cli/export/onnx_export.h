// A backbone or a whole member as an ONNX model (onnx.ai, IR version 7, opset 13). Needs Debian's
// libonnx_proto, which LibTorch is linked with there; no torch, no gRPC.
//
//   input   float32 "input" [N, C, H, W] or [N, H, W, C], preprocessed as the metadata say; with
//           the preprocessing inside uint8 "pixels", 0..255
//   output  float32 "gap" [N, features], or with a head "probabilities" [N, classes]
//
// Initializers carry the names of Atelier's tensors and their exact bytes (a scale of 1 is added
// where Keras' batch norm has none; the count of a Normalization is left out). Values are named
// after their layers. Padding is written out for the given size.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "services/cli/export/weights_file.h"

namespace onnx {
class ModelProto;
}

namespace atelier::exporting {

struct OnnxOptions {
  int64_t height = 0;
  int64_t width = 0;
  int64_t batch = 0;  // 0: any, as dimension "N"
  bool nhwc = false;
  // Batch norms multiplied into the convolutions before them (in double precision). Otherwise the
  // file holds exactly the weights.
  bool fold = false;
  // Said in the metadata; inside the model with `with_preprocessing`.
  Preprocessing preprocessing;
  bool with_preprocessing = false;
  bool auto_scaling = true;          // ModelSpec.scaling is AUTO; see DividesOnceMore
  std::vector<std::string> classes;  // for the metadata
  std::vector<std::pair<std::string, std::string>> metadata;  // more of it
};

// InvalidArgument: a size the backbone does not take. ResourceExhausted: more than the 2 GiB that
// a protobuf message may have.
absl::StatusOr<onnx::ModelProto> BuildOnnx(const WeightsFile& weights, const OnnxOptions& options);
absl::StatusOr<std::string> ExportOnnx(const WeightsFile& weights, const OnnxOptions& options);

}  // namespace atelier::exporting
