// atelier weights list
#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/outcome.h"
#include "services/cli/weights/cache_files.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/commands.h"
#include "services/cli/weights/file_digest.h"
#include "services/cli/weights/json_text.h"
#include "services/cli/weights/store.h"

namespace atelier::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string Known(const std::string& text) { return text.empty() ? "unknown" : text; }
Json KnownJson(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string Pin(const UpstreamFile& file) {
  return ReadPin(CacheFiles(WeightsCache(), "").pins, file.file);
}

Json FileJson(const UpstreamFile& file) {
  Json json = {{"file", file.file},
               {"urls", file.urls},
               {"bytes", file.bytes > 0 ? Json(file.bytes) : Json()},
               {"md5", KnownJson(file.md5)},
               {"sha256", KnownJson(file.sha256)},
               {"sha256_prefix", KnownJson(file.sha256_prefix)},
               {"pinned_sha256", KnownJson(Pin(file))},
               {"licence", KnownJson(file.licence)},
               {"source", KnownJson(file.source)}};
  if (!file.package.empty()) json["package"] = file.package + "==" + file.version;
  if (!file.member.empty()) json["member"] = file.member;
  if (!file.member_sha256.empty()) json["member_sha256"] = file.member_sha256;
  return json;
}

std::string Sha256Text(const UpstreamFile& file) {
  if (!file.sha256.empty()) return file.sha256;
  const std::string pin = Pin(file);
  if (!pin.empty()) return pin + " (pinned by a verified download)";
  return file.sha256_prefix.empty() ? "unknown" : file.sha256_prefix + "…";
}

std::string FileText(const UpstreamFile& file) {
  const std::string size = file.bytes > 0
                               ? absl::StrFormat("%.1f MB", static_cast<double>(file.bytes) / 1e6)
                               : "size unknown";
  std::string text = absl::StrCat("  ", file.file, ", ", size, "\n");
  if (!file.package.empty()) {
    absl::StrAppend(&text, "    from     package ", file.package, " ", file.version, "\n");
  }
  for (const std::string& url : file.urls) absl::StrAppend(&text, "    from     ", url, "\n");
  absl::StrAppend(&text, "    source   ", Known(file.source), "\n    licence  ",
                  Known(file.licence), "\n    sha256   ", Sha256Text(file), "\n");
  if (!file.md5.empty()) absl::StrAppend(&text, "    md5      ", file.md5, "\n");
  return text;
}

int List(bool as_json) {
  const auto entries = WeightsCatalogue();
  if (!entries.ok()) return Misuse(entries.status());
  Json list = Json::array();
  std::string text;
  for (const WeightsEntry& entry : *entries) {
    const bool cached = HaveWeights(entry.name);
    Json files = Json::array();
    absl::StrAppend(&text, entry.name, ": ", cached ? "cached" : "to fetch", "; input ",
                    entry.input_range, ", ", entry.default_size, " px\n");
    for (const UpstreamFile& file : entry.files) {
      files.push_back(FileJson(file));
      absl::StrAppend(&text, FileText(file));
    }
    Json json = {{"name", entry.name},
                 {"cached", cached},
                 {"input_range", entry.input_range},
                 {"default_size", entry.default_size},
                 {"files", files}};
    if (cached) json["path"] = CacheFiles(WeightsCache(), entry.name).weights.string();
    list.push_back(std::move(json));
  }
  std::cout << (as_json ? Dump(list) : text);
  return kDone;
}

}  // namespace

void AddWeightsList(CLI::App& weights, int* exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = weights.add_subcommand("list", "The catalogue, and what is in the cache");
  verb->add_flag("--json", *json, "One JSON document on standard output");
  verb->footer("Several files of one backbone are tried in this order.");
  verb->callback([json, exit_code] { *exit_code = List(*json); });
}

}  // namespace atelier::cli
