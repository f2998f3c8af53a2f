#include "common/nn/tensor_io.h"

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/safetensors.h"

namespace atelier::nn {
namespace {

constexpr std::pair<DType, at::ScalarType> kTypes[] = {
    {DType::kF32, at::kFloat},     {DType::kF64, at::kDouble}, {DType::kF16, at::kHalf},
    {DType::kBF16, at::kBFloat16}, {DType::kI64, at::kLong},   {DType::kI32, at::kInt},
    {DType::kU8, at::kByte},
};

at::ScalarType ToTorch(DType dtype) {
  for (const auto& [own, torch] : kTypes) {
    if (own == dtype) return torch;
  }
  return at::kByte;
}
DType FromTorch(at::ScalarType type) {
  for (const auto& [own, torch] : kTypes) {
    if (torch == type) return own;
  }
  TORCH_CHECK(false, "safetensors: no such type here: ", type);
}

}  // namespace

absl::StatusOr<std::map<std::string, at::Tensor>> LoadTensorsFromSafetensors(
    std::string_view bytes) {
  ATELIER_ASSIGN_OR_RETURN(const Safetensors file, ParseSafetensors(bytes));
  std::map<std::string, at::Tensor> out;
  for (const auto& [name, view] : file.tensors) {
    if (HasNonFinite(view)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", name, "\" holds a NaN or an infinite number"));
    }
    at::Tensor tensor = at::empty(view.shape, ToTorch(view.dtype));
    if (!view.bytes.empty()) std::memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
    out.emplace(name, std::move(tensor));
  }
  return out;
}

std::string SaveTensorsToSafetensors(const std::map<std::string, at::Tensor>& tensors,
                                     const std::map<std::string, std::string>& metadata) {
  std::vector<at::Tensor> dense;  // keeps the bytes alive
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    dense.push_back(tensor.detach().to(at::kCPU).contiguous());
    const at::Tensor& t = dense.back();
    views[name] = {FromTorch(t.scalar_type()), t.sizes().vec(),
                   std::string_view(static_cast<const char*>(t.data_ptr()), t.nbytes())};
  }
  return SerializeSafetensors(views, metadata);
}

}  // namespace atelier::nn
