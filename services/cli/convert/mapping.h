// Finds a backbone's variables in a source by layer order and shape, as Keras' own loader does, and
// never by exact name alone (files of other sessions count their layers differently).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/graph.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

struct MappedTensor {
  std::string target;  // "backbone/block1_conv1/kernel", "head/dense/bias"
  std::vector<int64_t> target_shape;
  // Dimension i of the target is dimension permutation[i] of the source; empty: the same layout.
  std::vector<int> permutation;
  SourceTensor source;
};

struct Mapping {
  std::string backbone;
  bool guessed = false;
  bool has_head = false;
  std::vector<MappedTensor> tensors;  // in Keras' order, the head last
  std::vector<LeftOut> left_out;
};

// FailedPrecondition, naming the first mismatch, when the source is not this backbone. With `head`,
// two dense layers after the backbone (features -> hidden -> classes) become head/dense and
// head/predictions; other layers are left out with the reason.
absl::StatusOr<Mapping> MapOnto(const Source& source, std::string_view backbone,
                                const nn::Graph& graph, bool head);

// The backbone of the catalogue that fits; the one with the most tensors when several do.
// FailedPrecondition with the first mismatch of the closest one when none does.
absl::StatusOr<Mapping> GuessAndMap(const Source& source, bool head);

}  // namespace atelier::convert
