// A user's own catalogue (JSON).
#include <algorithm>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights/catalogue.h"

namespace atelier::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxCatalogueBytes = 1 << 20;
constexpr size_t kMd5Digits = 32;
constexpr size_t kSha256Digits = 64;
constexpr size_t kLeastPrefix = 8;  // PyTorch's

absl::Status Wrong(const std::string& what) { return absl::InvalidArgumentError(what); }

// Reads the members of one JSON object, each at most once; Done() refuses those nobody asked for.
class Members {
 public:
  Members(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) status_ = Wrong(where_ + ": not an object");
  }
  void Text(const char* name, std::string& to) {
    const Json* value = Take(name);
    if (value == nullptr) return;
    if (!value->is_string()) return Refuse(name, "is not text");
    to = value->get<std::string>();
  }
  void Texts(const char* name, std::vector<std::string>& to) {
    const Json* value = Take(name);
    if (value == nullptr) return;
    if (!value->is_array()) return Refuse(name, "is not a list");
    for (const Json& item : *value) {
      if (!item.is_string()) return Refuse(name, "holds something else than text");
      to.push_back(item.get<std::string>());
    }
  }
  template <typename Number>
  void Count(const char* name, Number& to) {
    const Json* value = Take(name);
    if (value == nullptr) return;
    if (!value->is_number_unsigned()) return Refuse(name, "is not a number of 0 or more");
    to = value->get<Number>();
  }
  // Hex digits, all of `digits` or at least `least` of them.
  void Hex(const char* name, size_t least, size_t digits, std::string& to) {
    Text(name, to);
    if (to.empty()) return;
    const bool hex = std::all_of(to.begin(), to.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
    if (!hex || to.size() < least || to.size() > digits) {
      Refuse(name, absl::StrCat("is not ", least == digits ? "" : absl::StrCat(least, " to "),
                                digits, " lower-case hex digits"));
    }
  }
  const Json* Take(const char* name) {
    if (!status_.ok()) return nullptr;
    const auto found = object_.find(name);
    if (found == object_.end()) return nullptr;
    taken_.push_back(name);
    return &*found;
  }
  void Refuse(const char* name, const std::string& why) {
    if (status_.ok()) status_ = Wrong(absl::StrCat(where_, ": ", name, " ", why));
  }
  absl::Status Done() {
    if (!status_.ok()) return status_;
    for (const auto& [key, value] : object_.items()) {
      if (std::find(taken_.begin(), taken_.end(), key) == taken_.end()) {
        return Wrong(absl::StrCat(where_, ": unknown field \"", key, "\""));
      }
    }
    return absl::OkStatus();
  }

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> taken_;
  absl::Status status_;
};

absl::StatusOr<UpstreamFile> ReadFileOf(const Json& json, const std::string& where) {
  Members members(json, where);
  UpstreamFile file;
  members.Text("file", file.file);
  members.Texts("urls", file.urls);
  members.Count("bytes", file.bytes);
  members.Hex("md5", kMd5Digits, kMd5Digits, file.md5);
  members.Hex("sha256", kSha256Digits, kSha256Digits, file.sha256);
  members.Hex("sha256_prefix", kLeastPrefix, kSha256Digits, file.sha256_prefix);
  members.Text("member", file.member);
  members.Hex("member_sha256", kSha256Digits, kSha256Digits, file.member_sha256);
  members.Text("licence", file.licence);
  members.Text("source", file.source);
  if (!IsSafeName(file.file)) {
    members.Refuse("file", "must be a name of letters, digits, '.', '_' and '-', at most 64");
  }
  for (const std::string& url : file.urls) {
    if (!absl::StartsWith(url, "https://") && !absl::StartsWith(url, "http://")) {
      members.Refuse("urls", "must begin with https:// or http://");
    }
  }
  ATELIER_RETURN_IF_ERROR(members.Done());
  return file;
}

absl::StatusOr<WeightsEntry> ReadEntry(const Json& json, const std::string& where) {
  Members members(json, where);
  WeightsEntry entry;
  members.Text("name", entry.name);
  members.Text("input_range", entry.input_range);
  members.Count("default_size", entry.default_size);
  const Json* files = members.Take("files");
  ATELIER_RETURN_IF_ERROR(members.Done());
  const auto backbone = nn::FindBackbone(entry.name);
  if (!backbone.ok()) return Annotate(backbone.status(), where);
  if (entry.default_size == 0) entry.default_size = backbone->default_size;
  if (entry.input_range.empty()) entry.input_range = "unknown";
  if (files == nullptr || !files->is_array() || files->empty()) {
    return Wrong(absl::StrCat(where, ": files must be a list of at least one"));
  }
  for (const Json& file : *files) {
    ATELIER_ASSIGN_OR_RETURN(UpstreamFile read,
                             ReadFileOf(file, absl::StrCat(where, " (", entry.name, ")")));
    entry.files.push_back(std::move(read));
  }
  return entry;
}

}  // namespace

absl::StatusOr<std::vector<WeightsEntry>> ReadCatalogue(const std::filesystem::path& path) {
  const auto text = ReadFile(path, kMaxCatalogueBytes);
  if (!text.ok()) {
    return Wrong(absl::StrCat("the catalogue of weights: ", std::string(text.status().message())));
  }
  const std::string name = path.filename().string();
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return Wrong(name + " is not a JSON list of entries");
  std::vector<WeightsEntry> entries;
  for (const Json& item : json) {
    ATELIER_ASSIGN_OR_RETURN(WeightsEntry entry,
                             ReadEntry(item, absl::StrCat(name, ", entry ", entries.size() + 1)));
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace atelier::cli
