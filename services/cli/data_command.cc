// atelier data inspect|preview
#include <cstdio>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/vision/limit_flags.h"
#include "services/cli/await_data_service.h"
#include "services/cli/command.h"
#include "services/cli/embedded.h"
#include "services/cli/format.h"
#include "services/cli/pictures.h"
#include "services/cli/progress_view.h"
#include "services/cli/recipe/recipe.h"
#include "services/cli/run_json.h"
#include "services/coordinator/client.h"
#include "services/data/client.h"

namespace atelier::cli {
namespace {

struct Options {
  std::string data;
  std::string coordinator;
  std::string recipe = "fast";
  std::string stage;
  std::string out = "preview";
  std::vector<std::string> classes;
  int count = 15;
  int epoch = 0;
  bool manifest = false;
  bool json = false;
  vision::DecodeLimits limits;  // of a local folder's pictures
};

// The data-service of a local folder, or a coordinator's relay: the same two questions.
class DataSource {
 public:
  static absl::StatusOr<std::unique_ptr<DataSource>> Open(const Options& options) {
    auto source = std::make_unique<DataSource>();
    if (!options.coordinator.empty()) {
      const auto channel = rpc::MakeTcpChannelFactory()->Connect(options.coordinator);
      ATELIER_RETURN_IF_ERROR(AwaitDataService(channel));
      source->runs_ = coordinator::RunClient::Create(channel);
      source->dataset_ = options.data;
      return source;
    }
    EmbeddedOptions how;
    ATELIER_ASSIGN_OR_RETURN(how.data_root, ExistingFolder(options.data));
    how.pictures = options.limits;
    ATELIER_ASSIGN_OR_RETURN(source->embedded_, Embedded::Start(how));
    source->client_ =
        data::DataClient::Create(source->embedded_->channels()->Connect(kEmbeddedData));
    return source;
  }

  absl::StatusOr<data::DatasetDescription> Describe(v1::DescribeDatasetRequest request) {
    request.set_dataset(dataset_);
    const auto progress = [](const v1::DescribeProgress& p) {
      ShowFiles(p.files_done(), p.files_total());
    };
    if (client_ != nullptr) return client_->Describe(request, progress);
    data::DatasetDescription description;
    ATELIER_RETURN_IF_ERROR(
        runs_->InspectDataset(request, [&](const v1::DescribeDatasetResponse& part) {
          if (part.has_progress()) progress(part.progress());
          if (part.has_summary()) description.summary = part.summary();
          for (const v1::Sample& sample : part.manifest().samples()) {
            description.samples.push_back(sample);
          }
        }));
    return description;
  }

  absl::StatusOr<v1::PreviewResponse> Preview(v1::PreviewRequest request) {
    request.mutable_plan()->set_dataset(dataset_);
    return client_ != nullptr ? client_->Preview(request) : runs_->PreviewDataset(request);
  }

 private:
  static void ShowFiles(int done, int total) {
    if (!StandardErrorIsTerminal()) return;
    std::fprintf(stderr, "\r\x1b[2K%s of %s files%s", Grouped(done).c_str(), Grouped(total).c_str(),
                 done == total ? "\n" : "");
  }

  std::unique_ptr<Embedded> embedded_;
  std::unique_ptr<data::DataClient> client_;
  std::unique_ptr<coordinator::RunClient> runs_;
  std::string dataset_ = ".";
};

std::string LayoutText(v1::DatasetLayout layout) {
  switch (layout) {
    case v1::CLASS_FOLDERS:
      return "one folder per class (DIR/<class>/*.jpg)";
    case v1::TRAIN_TEST:
      return "train/<class>/ and test/";
    case v1::CSV_FLAT:
      return "a CSV beside the pictures";
    case v1::NAME_PREFIX:
      return "class at the beginning of each file's name (CLASS_name.ext)";
    case v1::UNLABELED:
      return "pictures without classes";
    default:
      return "unknown";
  }
}

Json InspectJson(const data::DatasetDescription& found, bool manifest) {
  const v1::DatasetSummary& summary = found.summary;
  Json classes = Json::array();
  for (const v1::ClassCount& c : summary.classes()) {
    classes.push_back({{"name", c.name()},
                       {"found", c.found()},
                       {"used", c.used()},
                       {"training", c.training()},
                       {"validation", c.validation()}});
  }
  Json quarantined = Json::array();
  for (const v1::QuarantinedFile& f : summary.quarantined()) {
    quarantined.push_back({{"file", f.file()}, {"reason", f.reason()}});
  }
  Json duplicates = Json::array();
  for (const v1::DuplicateFile& f : summary.duplicates()) {
    duplicates.push_back({{"file", f.file()}, {"kept", f.kept()}});
  }
  Json json = {{"digest", summary.digest()},
               {"layout", absl::AsciiStrToLower(v1::DatasetLayout_Name(summary.layout()))},
               {"labeled", summary.labeled()},
               {"test", summary.test()},
               {"classes", std::move(classes)},
               {"quarantined", std::move(quarantined)},
               {"duplicates", std::move(duplicates)}};
  if (!manifest) return json;
  Json samples = Json::array();
  for (const v1::Sample& s : found.samples) {
    samples.push_back({{"file", s.file()},
                       {"class", s.class_id() >= 0 && s.class_id() < summary.classes_size()
                                     ? Json(summary.classes(s.class_id()).name())
                                     : Json(nullptr)},
                       {"bytes", s.bytes()},
                       {"width", s.width()},
                       {"height", s.height()},
                       {"sha256", s.sha256()},
                       {"test", s.test()}});
  }
  json["samples"] = std::move(samples);
  return json;
}

void PrintInspect(const v1::DatasetSummary& summary) {
  std::printf("layout   %s\ndigest   %s\n", LayoutText(summary.layout()).c_str(),
              summary.digest().c_str());
  std::printf("labelled %s   test %s   quarantined %d   copies dropped %d\n\n",
              Grouped(summary.labeled()).c_str(), Grouped(summary.test()).c_str(),
              summary.quarantined_size(), summary.duplicates_size());
  std::vector<std::vector<std::string>> rows = {{"class", "found", "training", "validation"}};
  for (const v1::ClassCount& c : summary.classes()) {
    rows.push_back({c.name(), Grouped(c.found()), Grouped(c.training()), Grouped(c.validation())});
  }
  std::fputs(Table(rows, {1, 2, 3}).c_str(), stdout);
  for (const v1::QuarantinedFile& f : summary.quarantined()) {
    std::printf("quarantined  %s: %s\n", f.file().c_str(), f.reason().c_str());
  }
  for (const v1::DuplicateFile& f : summary.duplicates()) {
    std::printf("copy         %s is byte-identical to %s\n", f.file().c_str(), f.kept().c_str());
  }
}

absl::Status Inspect(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> source, DataSource::Open(options));
  v1::DescribeDatasetRequest request;
  request.set_want_manifest(options.manifest);
  request.set_bad_sample_budget(1);  // shows bad files, however many
  request.mutable_split()->set_validation_fraction(0.1);
  request.mutable_split()->set_seed(42);
  *request.mutable_classes() = {options.classes.begin(), options.classes.end()};
  absl::StatusOr<data::DatasetDescription> found = source->Describe(request);
  if (absl::IsFailedPrecondition(found.status())) {
    request.clear_split();  // too few pictures to split are still worth looking at
    found = source->Describe(request);
  }
  if (absl::IsInvalidArgument(found.status())) {
    // Pictures without classes are a layout, too: the one that predict takes.
    v1::DescribeDatasetRequest unlabeled = request;
    unlabeled.clear_split();
    unlabeled.set_unlabeled_ok(true);
    const absl::StatusOr<data::DatasetDescription> plain = source->Describe(unlabeled);
    if (plain.ok()) found = plain;
  }
  ATELIER_RETURN_IF_ERROR(found.status());
  if (options.json) {
    PrintJson(InspectJson(*found, options.manifest));
  } else {
    PrintInspect(found->summary);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::StageSpec> FindStage(const v1::RunPlan& plan, const std::string& name) {
  std::string names;
  for (const v1::StageSpec& stage : plan.stages()) {
    if (name.empty() || stage.name() == name) return stage;
    absl::StrAppend(&names, names.empty() ? "" : ", ", stage.name());
  }
  return absl::InvalidArgumentError(absl::StrCat("no stage \"", name, "\" in the recipe: ", names));
}

absl::Status Preview(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const v1::RunPlan plan, WrongUsage(LoadRecipe(options.recipe)));
  ATELIER_ASSIGN_OR_RETURN(const v1::StageSpec stage, WrongUsage(FindStage(plan, options.stage)));
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> source, DataSource::Open(options));
  v1::DescribeDatasetRequest describe;
  describe.set_bad_sample_budget(1);
  *describe.mutable_classes() = {options.classes.begin(), options.classes.end()};
  ATELIER_ASSIGN_OR_RETURN(const data::DatasetDescription found, source->Describe(describe));
  v1::PreviewRequest request;
  v1::DataPlan& data = *request.mutable_plan();
  data.set_dataset_digest(found.summary.digest());
  data.set_subset(stage.all_data() ? v1::ALL_LABELED : v1::TRAINING);
  data.mutable_split()->set_validation_fraction(plan.validation_fraction());
  data.mutable_split()->set_seed(plan.seed());
  data.mutable_split()->set_undersample(stage.undersample());
  *data.mutable_image() = plan.image();
  *data.mutable_augmentation() = stage.augmentation();
  *data.mutable_cutmix() = stage.cutmix();
  data.set_batch_size(std::max(1, plan.batch_size()));
  data.set_seed(plan.seed());
  data.set_shuffle(true);
  for (const v1::ClassCount& c : found.summary.classes()) data.add_classes(c.name());
  request.set_count(options.count);
  request.set_epoch(options.epoch);
  ATELIER_ASSIGN_OR_RETURN(const v1::PreviewResponse response, source->Preview(request));
  ATELIER_RETURN_IF_ERROR(MakeDirectories(options.out));
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {{"file", "label"}};
  for (int i = 0; i < response.pictures_size(); ++i) {
    const std::filesystem::path path =
        std::filesystem::path(options.out) / absl::StrFormat("%02d.png", i);
    ATELIER_RETURN_IF_ERROR(WriteFileAtomically(path, response.pictures(i).png()));
    json.push_back({{"file", path.string()}, {"label", response.pictures(i).caption()}});
    rows.push_back({path.string(), response.pictures(i).caption()});
  }
  if (options.json) {
    PrintJson(json);
  } else {
    std::fputs(Table(rows).c_str(), stdout);
  }
  return absl::OkStatus();
}

}  // namespace

void AddDataCommands(CLI::App& app, Context& context) {
  CLI::App* data =
      AddVerb(app, "data", "Look at a folder of pictures as training will see it",
              "  atelier data inspect paintings            # layout, classes, bad files, copies\n"
              "  atelier data inspect paintings --json --manifest\n"
              "  atelier data preview paintings --recipe seed --stage retrain --out preview");
  data->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* inspect = data->add_subcommand("inspect", "Layout, class counts, quarantine, copies");
  inspect->add_flag("--manifest", options->manifest, "With --json: every picture, too");
  CLI::App* preview = data->add_subcommand("preview", "Augmented pictures as PNG files");
  preview->add_option("--recipe", options->recipe, "Recipe whose augmentation is shown")
      ->capture_default_str();
  preview->add_option("--stage", options->stage, "Its stage; default: the first");
  preview->add_option("--count", options->count, "Pictures")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  preview->add_option("--epoch", options->epoch, "Each epoch changes them anew")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  preview->add_option("--out", options->out, "Folder for the PNG files")->capture_default_str();
  for (CLI::App* verb : {inspect, preview}) {
    verb->add_option("data,--data", options->data,
                     "Folder of pictures, with or without --data before it; with --coordinator a "
                     "path inside its data root")
        ->required()
        ->type_name("DIR");
    verb->add_option("--coordinator", options->coordinator,
                     "Ask the data-service of this coordinator")
        ->type_name("HOST:PORT");
    verb->add_option("--classes", options->classes, "Order of the classes")->delimiter(',');
    vision::AddPictureLimitFlags(*verb, options->limits);
    verb->add_flag("--json", options->json, "One JSON document on standard output");
  }
  inspect->callback([=, &context] { context.exit_code = ExitCode(Inspect(*options)); });
  preview->callback([=, &context] { context.exit_code = ExitCode(Preview(*options)); });
}

}  // namespace atelier::cli
