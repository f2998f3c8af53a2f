// What every reader produces: layers with their tensors, in the file's own order and layout. The
// mapping onto a backbone never looks at the format again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::convert {

// Limits of RELIABILITY.md; a larger file is refused before anything is read.
inline constexpr uint64_t kMaxFileBytes = uint64_t{4} << 30;
inline constexpr size_t kMaxTensors = 4096;
inline constexpr size_t kMaxRank = 8;

// Little-endian float32 in C order: either owned or a view into the mapped input file.
struct TensorBytes {
  std::string owned;
  std::string_view view;
  std::string_view bytes() const { return owned.empty() ? view : std::string_view(owned); }
};

struct SourceTensor {
  std::string name;  // as the file calls it
  std::vector<int64_t> shape;
  std::string dtype;      // "float32", …
  bool floating = false;  // only these can become weights
  // Converts to float32. Valid while the reader (Source::owner) lives.
  std::function<absl::StatusOr<TensorBytes>()> read;
};

struct SourceLayer {
  std::string name;
  std::string keras_class;  // "batch_normalization"; empty when the format does not say
  std::vector<SourceTensor> tensors;
};

// Layers that belong to one model. A nested model is a container of its own.
struct SourceContainer {
  std::string path;  // "layers/functional/layers"; empty: the root
  std::vector<SourceLayer> layers;
};

enum class Layout { kKeras, kTorch };

// How a container's layers meet a backbone's.
enum class Order {
  kSequence,  // one after the other, as saved (legacy .h5, state dicts)
  kPerClass,  // the n-th of each layer class (Keras 3: the file has only class names and counters)
  kNames,     // the format keeps no order (safetensors)
};

struct LeftOut {
  std::string name;
  std::vector<int64_t> shape;
  std::string reason;
};

struct Source {
  std::string format;  // for a person: "Keras legacy HDF5"
  Layout layout = Layout::kKeras;
  Order order = Order::kSequence;
  std::vector<SourceContainer> containers;
  std::vector<LeftOut> left_out;  // never candidates: counters, optimizer state
  std::shared_ptr<void> owner;    // keeps files and mappings open
};

// "[3, 3, 32, 64]".
std::string ShapeText(const std::vector<int64_t>& shape);
// Product of the dimensions; InvalidArgument on rank > kMaxRank, negative or overflowing sizes.
absl::StatusOr<int64_t> CheckedElements(const std::vector<int64_t>& shape);

}  // namespace atelier::convert
