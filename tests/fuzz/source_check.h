// What the converter's readers must keep to, whatever the file.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "services/cli/convert/input_file.h"
#include "services/cli/convert/source.h"
#include "tests/fuzz/check.h"

namespace atelier::fuzz {

// The bytes as a file under conversion; nullptr when there is no room for one.
inline std::shared_ptr<convert::InputFile> FileOf(std::string_view bytes) {
  auto file = convert::InputFile::MakeTemporary("fuzz");
  if (!file.ok() || !(*file)->Append(bytes).ok()) return nullptr;
  return *file;
}

// Reads every tensor of a source that was accepted.
inline void CheckSource(const absl::StatusOr<convert::Source>& source) {
  CheckRefusal(source.status());
  if (!source.ok()) return;
  for (const convert::SourceContainer& container : source->containers) {
    for (const convert::SourceLayer& layer : container.layers) {
      for (const convert::SourceTensor& tensor : layer.tensors) {
        const auto elements = convert::CheckedElements(tensor.shape);
        constexpr int64_t kTooMany = 1 << 22;  // hostile claims of gigabytes only cost time here
        if (!tensor.floating || !elements.ok() || *elements > kTooMany) continue;
        const auto bytes = tensor.read();
        CheckRefusal(bytes.status());
        if (!bytes.ok()) continue;
        Check(bytes->bytes().size() == static_cast<size_t>(*elements) * sizeof(float),
              "a tensor has the bytes of its shape");
      }
    }
  }
}

}  // namespace atelier::fuzz
