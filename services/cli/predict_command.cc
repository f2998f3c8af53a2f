// atelier predict: pictures in, submission.csv (and probabilities) out.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/ensemble/npy.h"
#include "services/cli/command.h"
#include "services/cli/format.h"
#include "services/cli/pictures.h"
#include "services/cli/prediction_session.h"
#include "services/cli/run_directory.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

constexpr char kExamples[] =
    "  atelier predict paintings/test --ensemble runs/paintings --out submission.csv\n"
    "  atelier predict a.jpg b.png                        # a table on the screen\n"
    "  atelier predict photos --ensemble paintings@2 --probabilities p.npy --skip-bad\n"
    "  atelier predict photos --aggregator 127.0.0.1:7080 --json";

struct Options {
  std::vector<std::string> paths;
  PredictionTarget target;
  std::string out;
  std::string probabilities;
  std::string member_probabilities;
  bool skip_bad = false;
  bool json = false;
};

// The error of a file names its folder, too.
absl::Status Write(const std::filesystem::path& path, std::string_view bytes) {
  const absl::Status written = WriteFileAtomically(path, bytes);
  return written.ok() ? written : Annotate(written, path.string());
}

std::string Label(const PredictionSession& session, int index) {
  return index >= 0 && index < static_cast<int>(session.classes.size())
             ? session.classes[static_cast<size_t>(index)]
             : absl::StrCat(index);
}

void PrintTable(const PredictionSession& session, const Predictions& predictions) {
  std::vector<std::vector<std::string>> rows = {{"picture", "class", "probability"}};
  for (int i = 0; i < predictions.combined.rows; ++i) {
    const int best = ensemble::ArgMax(predictions.combined.row(i));
    rows.push_back({predictions.names[static_cast<size_t>(i)], Label(session, best),
                    Percent(predictions.combined.row(i)[static_cast<size_t>(best)])});
  }
  std::fputs(Table(rows, {2}).c_str(), stdout);
}

Json ToJson(const PredictionSession& session, const Predictions& predictions) {
  Json rows = Json::array();
  for (int i = 0; i < predictions.combined.rows; ++i) {
    const auto row = predictions.combined.row(i);
    const int best = ensemble::ArgMax(row);
    rows.push_back({{"file", predictions.names[static_cast<size_t>(i)]},
                    {"class_index", best},
                    {"label", Label(session, best)},
                    {"probabilities", std::vector<float>(row.begin(), row.end())}});
  }
  Json skipped = Json::array();
  for (const BadPicture& bad : predictions.bad) {
    skipped.push_back({{"file", bad.name}, {"reason", bad.reason}});
  }
  return {{"ensemble_version", predictions.ensemble_version},
          {"classes", session.classes},
          {"degraded", predictions.degraded},
          {"members_failed", predictions.members_failed},
          {"predictions", std::move(rows)},
          {"skipped", std::move(skipped)}};
}

absl::Status Predict(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<PictureFile> pictures, ListPictures(options.paths));
  ATELIER_ASSIGN_OR_RETURN(PredictionSession session, OpenPredictionSession(options.target));
  PredictOptions how;
  how.skip_bad = options.skip_bad;
  how.limits = options.target.limits;
  how.want_members = !options.member_probabilities.empty();
  how.on_progress = ShowPictureProgress;
  ATELIER_ASSIGN_OR_RETURN(Predictions predictions,
                           PredictPictures(*session.client, pictures, how));
  predictions.combined.columns = static_cast<int>(session.classes.size());
  for (const BadPicture& bad : predictions.bad) {
    Say(absl::StrCat("left out ", bad.name, ": ", bad.reason));
  }
  if (predictions.degraded) {
    Say(absl::StrCat("warning: degraded answers, without ",
                     absl::StrJoin(predictions.members_failed, ", ")));
  }
  if (!options.out.empty()) {
    ATELIER_RETURN_IF_ERROR(Write(options.out, SubmissionCsv(predictions.combined)));
    Say(absl::StrCat("wrote ", options.out, ": ", predictions.combined.rows, " predictions by ",
                     predictions.ensemble_version));
  }
  if (!options.probabilities.empty()) {
    ATELIER_RETURN_IF_ERROR(Write(options.probabilities, ensemble::ToNpy(predictions.combined)));
    Say(absl::StrCat("wrote ", options.probabilities, ": float32 [", predictions.combined.rows,
                     ", ", predictions.combined.columns, "]"));
  }
  if (!options.member_probabilities.empty()) {
    ATELIER_RETURN_IF_ERROR(MakeDirectories(options.member_probabilities));
    for (const auto& [member, probabilities] : predictions.members) {
      if (probabilities.rows != predictions.combined.rows) {
        Say(absl::StrCat("warning: no file for ", member, ": it did not answer for every picture"));
        continue;
      }
      const std::filesystem::path path =
          std::filesystem::path(options.member_probabilities) / absl::StrCat(member, ".npy");
      ATELIER_RETURN_IF_ERROR(Write(path, ensemble::ToNpy(probabilities)));
      Say(absl::StrCat("wrote ", path.string()));
    }
  }
  if (options.json) {
    PrintJson(ToJson(session, predictions));
  } else if (options.out.empty() && options.probabilities.empty() &&
             options.member_probabilities.empty()) {
    PrintTable(session, predictions);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, Context& context) {
  CLI::App* verb =
      AddVerb(app, "predict", "Predict the class of pictures with an ensemble", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("pictures", options->paths, "Folders (walked down) and picture files")
      ->required()
      ->type_name("DIR_OR_FILES");
  AddTargetOptions(*verb, options->target);
  verb->add_option(
          "--out", options->out,
          "CSV with header \",answer value\" and rows index,class_index in the order of the "
          "pictures' paths (bytewise)")
      ->type_name("FILE.csv");
  verb->add_option("--probabilities", options->probabilities,
                   "NumPy file, float32 [pictures, classes], rows in the same order")
      ->type_name("FILE.npy");
  verb->add_option("--member-probabilities", options->member_probabilities,
                   "Folder for the same of every member, as MEMBER.npy")
      ->type_name("DIR");
  verb->add_flag("--skip-bad", options->skip_bad,
                 "Leave out pictures that do not decode instead of stopping at them");
  verb->add_flag("--json", options->json, "One JSON document on standard output");
  verb->callback([options, &context] { context.exit_code = ExitCode(Predict(*options)); });
}

}  // namespace atelier::cli
