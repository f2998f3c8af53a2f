// atelier weights inspect
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/nn/safetensors.h"
#include "services/cli/outcome.h"
#include "services/cli/weights/cache_files.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/commands.h"
#include "services/cli/weights/converter_verb.h"
#include "services/cli/weights/json_text.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

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
int InspectSafetensors(const fs::path& path, const std::string& bytes, bool json,
                       const Json& note) {
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
    Json out = {{"format", "safetensors"},      {"sha256", digest},
                {"bytes", bytes.size()},        {"finite", finite},
                {"metadata", parsed->metadata}, {"tensors", tensors}};
    if (note.is_object()) out["fetched"] = note;
    std::cout << Dump(out);
    return kDone;
  }
  std::cout << path.filename().string() << ": safetensors, " << parsed->tensors.size()
            << " tensors, " << bytes.size() << " bytes" << (finite ? "" : ", with NaN or infinity")
            << "\n  sha256 " << digest << "\n";
  for (const auto& [key, value] : parsed->metadata)
    std::cout << "  " << key << ": " << value << "\n";
  std::cout << text;
  return kDone;
}

// For a name of the catalogue: its cached file, after what the note beside it says.
int InspectCached(const std::string& name, bool json) {
  const CacheFiles files(WeightsCache(), name);
  const auto bytes = ReadFile(files.weights);
  if (!bytes.ok()) {
    return Fail(absl::NotFoundError(absl::StrCat(
        "the weights of ", name, " are not in the cache: atelier weights fetch ", name)));
  }
  const Json note = ReadWeightsNote(name);
  if (!json && note.is_object()) {
    for (const auto& [key, value] : note.items()) {
      std::cout << key << ": " << (value.is_string() ? value.get<std::string>() : value.dump())
                << "\n";
    }
  }
  return InspectSafetensors(files.weights, *bytes, json, note);
}

int Inspect(const std::string& what, bool json) {
  const fs::path path = what;
  std::error_code error;
  if (!fs::exists(path, error) && FindWeights(what).ok()) return InspectCached(what, json);
  const auto bytes = ReadFile(path);
  if (!bytes.ok()) return Fail(bytes.status());
  if (bytes->size() > 8 && (*bytes)[8] == '{') return InspectSafetensors(path, *bytes, json, {});
  std::vector<std::string> arguments = {"--list", path.string()};
  if (json) arguments.push_back("--json");
  return RunConverterVerb(std::move(arguments));
}

}  // namespace

void AddWeightsInspect(CLI::App& weights, int* exit_code) {
  auto json = std::make_shared<bool>(false);
  auto file = std::make_shared<std::string>();
  CLI::App* verb = weights.add_subcommand("inspect", "The tensors of a weights file");
  verb->add_option("FILE", *file, "A weights file, or a name from `weights list`")->required();
  verb->add_flag("--json", *json, "One JSON document on standard output");
  verb->footer(
      "Examples:\n  atelier weights inspect xception          # where it came from, and what is in "
      "it\n  atelier weights inspect model.keras");
  verb->callback([json, file, exit_code] { *exit_code = Inspect(*file, *json); });
}

}  // namespace atelier::cli
