#include "services/cli/report/report_data.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/vision/split.h"
#include "services/cli/fetch_run.h"

namespace atelier::cli {
namespace {

constexpr int kThumbnail = 144;  // pixels; a report stays a few megabytes
constexpr int kAugmented = 15;   // as many as the notebook's preview
constexpr int kMixed = 8;
constexpr size_t kShownPredictions = 30;
constexpr size_t kShownTest = 18;        // as in the notebook
constexpr size_t kPicturesPerCall = 12;  // far below the message limit

const v1::StageSpec* FindStage(const v1::RunPlan& plan, const std::string& name) {
  for (const v1::StageSpec& stage : plan.stages()) {
    if (stage.name() == name) return &stage;
  }
  return nullptr;
}

// As the coordinator plans it, but for the size.
v1::DataPlan PreviewPlan(const v1::Run& run, bool undersample) {
  const v1::RunPlan& plan = run.plan();
  v1::DataPlan data;
  data.set_dataset(plan.dataset());
  data.set_dataset_digest(plan.dataset_digest());
  data.set_subset(v1::ALL_LABELED);
  data.mutable_split()->set_validation_fraction(plan.validation_fraction());
  data.mutable_split()->set_seed(plan.seed());
  data.mutable_split()->set_undersample(undersample);
  *data.mutable_image() = plan.image();
  data.mutable_image()->set_size(kThumbnail);
  data.set_batch_size(std::max(1, plan.batch_size()));
  data.set_seed(plan.seed());
  *data.mutable_classes() = plan.classes();
  return data;
}

class Gatherer {
 public:
  Gatherer(const v1::Run& run, const RunPredictions& predictions, coordinator::RunClient& runs)
      : predictions_(predictions), runs_(runs) {
    data_.run = run;
  }

  ReportData Gather() {
    GatherAugmented();
    const absl::Status manifest = LoadManifest();
    if (!manifest.ok()) {
      data_.notes.push_back(
          absl::StrCat("no pictures of predictions: ", std::string(manifest.message())));
    }
    if (predictions_.validation.rows > 0) GatherValidation();
    if (predictions_.test.rows > 0) GatherTest();
    return std::move(data_);
  }

 private:
  void GatherAugmented() {
    const v1::RunPlan& plan = data_.run.plan();
    if (plan.stages().empty()) return;
    const v1::StageSpec& stage = plan.stages(0);
    v1::PreviewRequest request;
    *request.mutable_plan() = PreviewPlan(data_.run, stage.undersample());
    request.mutable_plan()->set_subset(v1::TRAINING);
    request.mutable_plan()->set_shuffle(true);
    *request.mutable_plan()->mutable_augmentation() = stage.augmentation();
    request.set_count(kAugmented);
    data_.augmented = Preview(request, "augmented pictures");
    if (stage.cutmix().variant() == v1::CutMixSpec::OFF) return;
    *request.mutable_plan()->mutable_cutmix() = stage.cutmix();
    // Every picture shown is a mixed one, whatever the recipe's probability.
    request.mutable_plan()->mutable_cutmix()->set_probability(1);
    request.set_count(kMixed);
    data_.mixed = Preview(request, "CutMix pictures");
  }

  std::vector<ReportPicture> Preview(const v1::PreviewRequest& request, const std::string& what) {
    std::vector<ReportPicture> pictures;
    const absl::StatusOr<v1::PreviewResponse> response = runs_.PreviewDataset(request);
    if (!response.ok()) {
      data_.notes.push_back(
          absl::StrCat("no ", what, ": ", std::string(response.status().message())));
      return pictures;
    }
    for (const v1::EncodedPicture& picture : response->pictures()) {
      pictures.push_back({picture.png(), picture.caption()});
    }
    return pictures;
  }

  absl::Status LoadManifest() {
    v1::DescribeDatasetRequest request;
    request.set_dataset(data_.run.plan().dataset());
    request.set_want_manifest(true);
    request.set_bad_sample_budget(1);
    *request.mutable_classes() = data_.run.plan().classes();
    return runs_.InspectDataset(request, [&](const v1::DescribeDatasetResponse& part) {
      for (const v1::Sample& sample : part.manifest().samples()) {
        files_.push_back(sample.file());
        classes_.push_back(sample.test() ? -1 : sample.class_id());
      }
    });
  }

  // The manifest ids of a matrix's rows; empty (with a note) when they cannot be told.
  std::vector<uint32_t> RowIds(v1::Subset subset, bool undersample, int rows) {
    if (files_.empty()) return {};
    const auto ids =
        vision::SelectSubset(classes_, subset, PreviewPlan(data_.run, undersample).split());
    if (ids.ok() && ids->size() == static_cast<size_t>(rows)) return *ids;
    data_.notes.push_back(absl::StrCat(
        "no pictures of ", v1::Subset_Name(subset), ": ",
        ids.ok() ? "the files changed since the run" : std::string(ids.status().message())));
    return {};
  }

  std::string ClassName(int index) const {
    const auto& classes = data_.run.ensemble().classes();
    return index >= 0 && index < classes.size() ? classes[index] : absl::StrCat(index);
  }

  ReportPrediction Row(const ensemble::Probabilities& rows, int row, int label,
                       const std::vector<uint32_t>& ids) const {
    const int best = ensemble::ArgMax(rows.row(row));
    ReportPrediction prediction;
    prediction.predicted = ClassName(best);
    prediction.probability = rows.row(row)[static_cast<size_t>(best)];
    if (label >= 0) prediction.truth = ClassName(label);
    prediction.file =
        ids.empty() ? absl::StrCat("picture ", row) : files_[ids[static_cast<size_t>(row)]];
    return prediction;
  }

  void GatherValidation() {
    const v1::Task* task = data_.run.ensemble().members().empty()
                               ? nullptr
                               : ChosenTask(data_.run, data_.run.ensemble().members(0));
    const v1::StageSpec* stage =
        task == nullptr ? nullptr : FindStage(data_.run.plan(), task->stage());
    undersampled_ = stage != nullptr && stage->undersample();
    const ensemble::Probabilities& rows = predictions_.validation;
    const std::vector<uint32_t> ids = RowIds(v1::VALIDATION, undersampled_, rows.rows);
    std::vector<std::pair<ReportPrediction, uint32_t>> all;
    for (int i = 0; i < rows.rows && i < static_cast<int>(predictions_.validation_labels.size());
         ++i) {
      all.emplace_back(Row(rows, i, predictions_.validation_labels[static_cast<size_t>(i)], ids),
                       ids.empty() ? 0 : ids[static_cast<size_t>(i)]);
      if (all.back().first.wrong()) ++data_.validation_wrong;
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      if (a.first.wrong() != b.first.wrong()) return a.first.wrong();
      // Wrong: the surest mistakes first. Right: the least sure first, they are the interesting
      // ones.
      return a.first.wrong() ? a.first.probability > b.first.probability
                             : a.first.probability < b.first.probability;
    });
    if (all.size() > kShownPredictions) all.resize(kShownPredictions);
    std::vector<uint32_t> shown;
    for (auto& [prediction, id] : all) {
      data_.validation.push_back(std::move(prediction));
      shown.push_back(id);
    }
    if (!ids.empty()) AddThumbnails(v1::ALL_LABELED, shown, data_.validation);
  }

  void GatherTest() {
    const ensemble::Probabilities& rows = predictions_.test;
    data_.test_counts.assign(static_cast<size_t>(rows.columns), 0);
    const std::vector<uint32_t> ids = RowIds(v1::TEST, false, rows.rows);
    std::vector<uint32_t> shown;
    for (int i = 0; i < rows.rows; ++i) {
      ++data_.test_counts[static_cast<size_t>(ensemble::ArgMax(rows.row(i)))];
      if (data_.test.size() >= kShownTest) continue;
      data_.test.push_back(Row(rows, i, -1, ids));
      if (!ids.empty()) shown.push_back(ids[static_cast<size_t>(i)]);
    }
    AddThumbnails(v1::TEST, shown, data_.test);
  }

  void AddThumbnails(v1::Subset subset, const std::vector<uint32_t>& ids,
                     std::vector<ReportPrediction>& predictions) {
    for (size_t begin = 0; begin < ids.size(); begin += kPicturesPerCall) {
      const size_t end = std::min(ids.size(), begin + kPicturesPerCall);
      v1::PreviewRequest request;
      *request.mutable_plan() = PreviewPlan(data_.run, subset != v1::TEST && undersampled_);
      request.mutable_plan()->set_subset(subset);
      request.set_plain(true);
      request.set_count(static_cast<int>(end - begin));
      for (size_t i = begin; i < end; ++i) request.add_sample_ids(ids[i]);
      const std::vector<ReportPicture> pictures = Preview(request, "thumbnails");
      if (pictures.size() != end - begin) return;
      for (size_t i = begin; i < end; ++i) predictions[i].png = pictures[i - begin].png;
    }
  }

  const RunPredictions& predictions_;
  coordinator::RunClient& runs_;
  ReportData data_;
  std::vector<std::string> files_;
  std::vector<int32_t> classes_;
  bool undersampled_ = false;
};

}  // namespace

ReportData GatherReport(const v1::Run& run, const RunPredictions& predictions,
                        coordinator::RunClient& runs) {
  return Gatherer(run, predictions, runs).Gather();
}

}  // namespace atelier::cli
