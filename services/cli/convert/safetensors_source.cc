#include "services/cli/convert/safetensors_source.h"

#include <utility>

#include "common/base/status.h"
#include "common/nn/safetensors.h"
#include "services/cli/convert/float_convert.h"

namespace atelier::convert {
namespace {

ElementType TypeOf(nn::DType type) {
  switch (type) {
    case nn::DType::kF32:
      return ElementType::kF32;
    case nn::DType::kF64:
      return ElementType::kF64;
    case nn::DType::kF16:
      return ElementType::kF16;
    case nn::DType::kBF16:
      return ElementType::kBF16;
    case nn::DType::kI64:
      return ElementType::kI64;
    case nn::DType::kI32:
      return ElementType::kI32;
    case nn::DType::kU8:
      return ElementType::kU8;
  }
  return ElementType::kU8;
}

}  // namespace

absl::StatusOr<Source> ReadSafetensors(std::shared_ptr<InputFile> file) {
  ATELIER_ASSIGN_OR_RETURN(const std::string_view bytes, file->Map());
  ATELIER_ASSIGN_OR_RETURN(const nn::Safetensors parsed, nn::ParseSafetensors(bytes));
  Source source;
  source.format = "safetensors";
  source.layout = Layout::kTorch;
  source.order = Order::kNames;
  source.owner = file;
  SourceLayer layer;
  for (const auto& [name, view] : parsed.tensors) {
    const ElementType type = TypeOf(view.dtype);
    if (!IsFloating(type)) {
      source.left_out.push_back({name, view.shape, "a counter, not a weight"});
      continue;
    }
    SourceTensor tensor;
    tensor.name = name;
    tensor.shape = view.shape;
    tensor.dtype = ElementName(type);
    tensor.floating = true;
    tensor.read = [type, data = view.bytes, file]() -> absl::StatusOr<TensorBytes> {
      if (type == ElementType::kF32) return TensorBytes{"", data};
      return TensorBytes{ToFloat32(type, data), {}};
    };
    layer.tensors.push_back(std::move(tensor));
  }
  source.containers.push_back({"", {std::move(layer)}});
  return source;
}

}  // namespace atelier::convert
