// Writers of foreign weights files, so that the readers' tests need no binaries: Keras' two HDF5
// layouts through HDF5's C API, pickles opcode by opcode, PyTorch's two containers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/nn/graph.h"

namespace atelier::convert {

struct Weight {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};
struct Layer {
  std::string name;  // Keras' (or timm's)
  std::string keras_class;
  std::vector<Weight> weights;
};

// A backbone's layers, every number different: Keras' layout, or LibTorch's.
std::vector<Layer> PatternLayers(const nn::Graph& graph, bool keras_layout);
// The same numbers as LibTorch wants them, by artifact name without "backbone/".
std::vector<std::pair<std::string, std::vector<float>>> ExpectedTensors(const nn::Graph& graph);
Layer DenseLayer(const std::string& name, int64_t in, int64_t out, float first);

// `suffix` is put after each weight's name (":0").
void WriteLegacyH5(const std::filesystem::path& path, const std::vector<Layer>& layers,
                   const std::string& suffix = ":0");
// Groups below `container` ("layers/functional/layers"), counted by class as Keras 3 does.
struct Container {
  std::string path;
  std::vector<Layer> layers;
};
void WriteKeras3H5(const std::filesystem::path& path, const std::vector<Container>& containers);

// Little pickle assembler (protocol 2).
class PickleWriter {
 public:
  PickleWriter() : bytes_("\x80\x02", 2) {}
  PickleWriter& Op(char op) {
    bytes_ += op;
    return *this;
  }
  PickleWriter& Raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  PickleWriter& Text(std::string_view text);
  PickleWriter& Int(int64_t value);  // 0 … 2^31 - 1
  PickleWriter& Global(std::string_view module, std::string_view name);
  PickleWriter& Ints(const std::vector<int64_t>& values);  // a tuple
  std::string Stop() { return bytes_ + "."; }

 private:
  std::string bytes_;
};

struct TorchTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // empty: contiguous
  std::vector<float> storage;    // its own storage
  int64_t offset = 0;
};
std::vector<TorchTensor> TorchTensors(const nn::Graph& graph);
// The state dict's pickle; storages are numbered from 0.
std::string StateDictPickle(const std::vector<TorchTensor>& tensors);
std::string LegacyTorchFile(const std::vector<TorchTensor>& tensors);
void WriteTorchZip(const std::filesystem::path& path, const std::vector<TorchTensor>& tensors);
// Deflated unless `store` (as PyTorch and Keras do).
void WriteZip(const std::filesystem::path& path,
              const std::vector<std::pair<std::string, std::string>>& members, bool store = false);
std::string FloatBytes(const std::vector<float>& values);

}  // namespace atelier::convert
