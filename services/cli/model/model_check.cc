// atelier model check: the same weights in Keras and here, compared.
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"
#include "common/nn/runtime.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/model/golden_compare.h"
#include "services/cli/model/model_commands.h"
#include "services/cli/model/model_input.h"
#include "services/cli/run_json.h"
#include "services/cli/weights/helper_process.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultGoldens[] = "../shared/goldens";
constexpr char kExamples[] =
    "  atelier model check xception                       # against ../shared/goldens\n"
    "  tests/golden/make_goldens.py xception --weights mine_notop.h5 --output mine\n"
    "  atelier model check xception --goldens mine        # your weights, your Keras' answers\n"
    "  atelier model check xception --goldens mine --weights mine.safetensors";

struct Options {
  std::string name;
  std::string goldens;
  std::string weights;
  bool json = false;
};

class TempFolder {
 public:
  static absl::StatusOr<std::unique_ptr<TempFolder>> Create() {
    std::error_code error;
    std::string path = (fs::temp_directory_path(error) / "atelier-check.XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) {
      return absl::UnavailableError("cannot make a temporary folder; set TMPDIR");
    }
    return std::unique_ptr<TempFolder>(new TempFolder(path));
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  explicit TempFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// A folder of goldens, and what of it is compared.
struct Check {
  const Options& options;
  fs::path goldens;
  fs::path temp;
  Pixels pixels;
  std::vector<GoldenRow> rows;
};

absl::StatusOr<fs::path> WeightsOf(const Check& check, const std::string& file) {
  if (!check.options.weights.empty()) return fs::path(check.options.weights);
  const fs::path out = check.temp / (file + ".safetensors");
  ATELIER_ASSIGN_OR_RETURN(const fs::path converter, SiblingProgram("atelier-convert"));
  ATELIER_ASSIGN_OR_RETURN(
      const ProcessResult result,
      RunProcess({converter.string(), (check.goldens / file).string(), "--backbone",
                  check.options.name, "--output", out.string()}));
  if (result.exit_code == 0) return out;
  return absl::FailedPreconditionError(result.err.empty() ? "atelier-convert failed" : result.err);
}

// Both preprocessings of one layer; a set of goldens may lack some arrays.
absl::Status Compare(Check& check, nn::Inspector& inspector, const std::string& layer) {
  for (const auto& [preprocess, scaling] :
       {std::pair{"auto", v1::AUTO}, std::pair{"notebook", v1::NOTEBOOK}}) {
    const auto expected = ReadNpz(check.goldens / (check.options.name + ".expected.npz"),
                                  absl::StrCat(layer, "_", preprocess));
    if (absl::IsNotFound(expected.status())) continue;
    ATELIER_RETURN_IF_ERROR(expected.status());
    ATELIER_ASSIGN_OR_RETURN(const nn::FloatArray ours,
                             inspector.Output(check.pixels.batch(), scaling, layer));
    ATELIER_ASSIGN_OR_RETURN(GoldenRow row, CompareGolden(layer, ours, *expected));
    row.preprocess = preprocess;
    check.rows.push_back(std::move(row));
  }
  return absl::OkStatus();
}

// Opens the weights FILE of the goldens and compares one layer; keeps what it opened.
absl::StatusOr<std::unique_ptr<nn::Inspector>> CompareLayer(Check& check, const std::string& file,
                                                            const std::string& layer) {
  ATELIER_ASSIGN_OR_RETURN(const fs::path weights, WeightsOf(check, file));
  ATELIER_ASSIGN_OR_RETURN(auto inspector, OpenInspector(check.options.name, weights,
                                                         check.pixels.channels, layer == "probs"));
  ATELIER_RETURN_IF_ERROR(Compare(check, *inspector, layer));
  return inspector;
}

absl::StatusOr<std::optional<LayerDifference>> FirstDifference(const Check& check,
                                                               nn::Inspector& inspector) {
  const auto text = ReadFile(check.goldens / (check.options.name + ".layers.json"), 64 << 20);
  if (!text.ok()) return std::nullopt;
  ATELIER_ASSIGN_OR_RETURN(const auto ours, inspector.Statistics(check.pixels.batch(), v1::AUTO));
  return FirstDifferentLayer(ours, *text);
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::StatusOr<fs::path> FindGoldens(const Options& options) {
  const fs::path folder = options.goldens.empty() ? kDefaultGoldens : options.goldens;
  for (const std::string& file : {options.name + ".expected.npz", std::string("input.npy")}) {
    if (Exists(folder / file)) continue;
    return absl::NotFoundError(absl::StrCat(
        "no ", file, " in ", folder.string(),
        "; name a folder of goldens with --goldens, or make one of your own Keras weights: "
        "python3 tests/golden/make_goldens.py ",
        options.name, " --weights FILE.h5 --output DIR"));
  }
  return folder;
}

void Print(const Check& check, const std::optional<LayerDifference>& first, bool json) {
  Json rows = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"output", "preprocess", "difference", "allowed", ""}};
  for (const GoldenRow& row : check.rows) {
    rows.push_back({{"layer", row.layer},
                    {"preprocess", row.preprocess},
                    {"difference", row.difference},
                    {"allowed", row.allowed},
                    {"agrees", row.agrees()}});
    table.push_back({row.layer, row.preprocess, absl::StrFormat("%.1e", row.difference),
                     absl::StrFormat("%.1e", row.allowed), row.agrees() ? "agrees" : "DIFFERS"});
  }
  if (json) {
    Json document = {{"backbone", check.options.name}, {"rows", rows}};
    if (first) document["first_different_layer"] = first->layer;
    return PrintJson(document);
  }
  std::fputs(Table(table, {2, 3}).c_str(), stdout);
  std::fputs("gap: of the largest feature; probs: absolute.\n", stdout);
  if (first) {
    std::fputs(absl::StrFormat("The first layer that differs is %s: mean %.6g, deviation %.6g "
                               "here, %.6g and %.6g in Keras.\n",
                               first->layer, first->mean, first->deviation, first->expected_mean,
                               first->expected_deviation)
                   .c_str(),
               stdout);
  }
}

absl::StatusOr<bool> Run(const Options& options) {
  nn::SetThreads(0);
  ATELIER_RETURN_IF_ERROR(nn::FindBackbone(options.name).status());
  ATELIER_ASSIGN_OR_RETURN(const fs::path goldens, FindGoldens(options));
  ATELIER_ASSIGN_OR_RETURN(const auto temp, TempFolder::Create());
  ATELIER_ASSIGN_OR_RETURN(Pixels pixels, ReadPixels(goldens / "input.npy"));
  Check check{options, goldens, temp->path(), std::move(pixels), {}};
  const std::string full = options.name + ".full.weights.h5";
  const std::string notop =
      Exists(goldens / (options.name + ".notop.h5")) ? options.name + ".notop.h5" : full;
  ATELIER_ASSIGN_OR_RETURN(const auto inspector, CompareLayer(check, notop, "gap"));
  const bool has_probs = ReadNpz(goldens / (options.name + ".expected.npz"), "probs_auto").ok();
  if (has_probs) ATELIER_RETURN_IF_ERROR(CompareLayer(check, full, "probs").status());
  const bool agree = std::all_of(check.rows.begin(), check.rows.end(),
                                 [](const GoldenRow& row) { return row.agrees(); });
  if (check.rows.empty()) {
    return absl::NotFoundError(
        "the goldens hold none of gap_auto, gap_notebook, probs_auto, "
        "probs_notebook");
  }
  std::optional<LayerDifference> first;
  if (!agree) {
    ATELIER_ASSIGN_OR_RETURN(first, FirstDifference(check, *inspector));
  }
  Print(check, first, options.json);
  return agree;
}

}  // namespace

void AddModelCheck(CLI::App& model, Context& context) {
  CLI::App* verb =
      AddVerb(model, "check", "Hold a backbone's answers against Keras' own for the same weights",
              kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("NAME", options->name, "A backbone of `atelier model list`")->required();
  verb->add_option("--goldens", options->goldens,
                   "Folder with input.npy, NAME.notop.h5, NAME.full.weights.h5, NAME.expected.npz "
                   "and NAME.layers.json; by default ../shared/goldens")
      ->type_name("DIR");
  verb->add_option("--weights", options->weights,
                   "Converted weights to check, instead of converting the folder's")
      ->type_name("FILE");
  verb->add_flag("--json", options->json, "One JSON document on standard output");
  verb->footer(std::string("Exit code 0 when everything agrees, 1 when not.\nExamples:\n") +
               kExamples);
  verb->callback([options, &context] {
    const absl::StatusOr<bool> agree = Run(*options);
    context.exit_code = !agree.ok() ? Fail(agree.status()) : *agree ? kDone : kFailed;
  });
}

}  // namespace atelier::cli
