#include "common/nn/safetensors.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  namespace nn = atelier::nn;
  const std::string_view bytes = atelier::fuzz::Bytes(data, size);
  const auto parsed = nn::ParseSafetensors(bytes);
  atelier::fuzz::CheckRefusal(parsed.status());
  if (!parsed.ok()) return 0;
  size_t total = 0;
  for (const auto& [name, tensor] : parsed->tensors) {
    Check(tensor.bytes.empty() ||
              (tensor.bytes.data() >= bytes.data() &&
               tensor.bytes.data() + tensor.bytes.size() <= bytes.data() + bytes.size()),
          "a tensor lies in the file");
    total += tensor.bytes.size();
    nn::HasNonFinite(tensor);
  }
  Check(total <= size, "tensors do not overlap");
  const std::string written = nn::SerializeSafetensors(parsed->tensors, parsed->metadata);
  const auto again = nn::ParseSafetensors(written);
  Check(again.ok(), "what was written parses");
  Check(again->metadata == parsed->metadata && again->tensors.size() == parsed->tensors.size(),
        "nothing is lost");
  for (const auto& [name, tensor] : parsed->tensors) {
    const nn::TensorView& other = again->tensors.at(name);
    Check(other.shape == tensor.shape && other.bytes == tensor.bytes, "tensors are equal");
  }
  return 0;
}
