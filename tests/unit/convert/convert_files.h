// Converts a file in the test and gives the tensors back.
#pragma once

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/nn/safetensors.h"
#include "services/cli/convert/converter.h"

namespace atelier::convert {

struct Converted {
  ConvertReport report;
  std::map<std::string, std::vector<float>> tensors;
  std::map<std::string, std::vector<int64_t>> shapes;
};

inline absl::StatusOr<Converted> ConvertFile(const std::filesystem::path& path,
                                             const std::string& backbone = "", bool head = true,
                                             const std::string& member = "") {
  ConvertOptions options;
  options.path = path;
  options.backbone = backbone;
  options.member = member;
  options.head = head;
  options.output = path.string() + ".safetensors";
  Converted out;
  ATELIER_ASSIGN_OR_RETURN(out.report, Convert(options));
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(options.output));
  ATELIER_ASSIGN_OR_RETURN(const nn::Safetensors parsed, nn::ParseSafetensors(bytes));
  for (const auto& [name, view] : parsed.tensors) {
    std::vector<float> values(view.bytes.size() / sizeof(float));
    std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    out.tensors[name] = std::move(values);
    out.shapes[name] = view.shape;
  }
  return out;
}

}  // namespace atelier::convert
