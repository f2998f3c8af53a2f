#include "services/data/catalog.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/vision/guarded.h"
#include "common/vision/split.h"
#include "services/data/path_guard.h"

namespace atelier::data {
namespace {

namespace fs = std::filesystem;

constexpr double kDefaultBudget = 0.05;
// Descriptions that are kept: clients choose the order of the classes, of which there are n!. What
// was forgotten is described again, without reading the files again.
constexpr size_t kMaxDescribed = 16;

absl::StatusOr<std::vector<std::string>> ChooseClasses(
    const FoundLayout& found, const google::protobuf::RepeatedPtrField<std::string>& asked) {
  if (asked.empty()) return found.class_names;
  std::vector<std::string> sorted(asked.begin(), asked.end());
  std::sort(sorted.begin(), sorted.end());
  if (sorted != found.class_names) {
    std::string names;
    for (const std::string& name : found.class_names)
      absl::StrAppend(&names, names.empty() ? "" : ", ", name);
    return absl::InvalidArgumentError(
        absl::StrCat("classes: the list must name exactly the classes found: ", names));
  }
  return std::vector<std::string>(asked.begin(), asked.end());
}

absl::Status CheckBudgetAsked(double asked) {
  if (asked >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "bad_sample_budget: expected a part of the files, 0 for the default of %g, found %g",
      kDefaultBudget, asked));
}

absl::Status CheckBudget(const Dataset& dataset, double asked) {
  const double budget = asked == 0 ? kDefaultBudget : asked;
  const auto bad = dataset.quarantined.size();
  if (dataset.files == 0) return absl::InvalidArgumentError("the dataset has no files");
  if (static_cast<double>(bad) <= budget * dataset.files || budget >= 1) return absl::OkStatus();
  std::string text =
      absl::StrFormat("%d of %d files are no usable pictures, more than the budget of %.1f %%", bad,
                      dataset.files, 100 * budget);
  for (size_t i = 0; i < bad && i < 3; ++i) {
    absl::StrAppend(&text, i == 0 ? ": " : "; ", dataset.quarantined[i].file(), " (",
                    dataset.quarantined[i].reason(), ")");
  }
  return absl::FailedPreconditionError(text + "; remove them or raise bad_sample_budget");
}

absl::Status Asked(const StopCheck& stop) { return stop ? stop() : absl::OkStatus(); }

std::string DigestOf(const Dataset& dataset) {
  Sha256 hash;
  for (const v1::Sample& sample : dataset.samples) {
    const std::string& name =
        sample.class_id() < 0 ? "-" : dataset.classes[static_cast<size_t>(sample.class_id())];
    hash.Update(absl::StrCat(sample.sha256(), " ", name, " ", sample.file(), "\n"));
  }
  return hash.FinishHex();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Create(const fs::path& root,
                                                         const vision::DecodeLimits& limits,
                                                         int threads) {
  if (!root.is_absolute()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--root ", root.string(),
                     " is relative; give an absolute path (with docker-compose: "
                     "ATELIER_DATA_DIR=/absolute/DIR)"));
  }
  std::error_code error;
  fs::path canonical = fs::canonical(root, error);
  if (error || !fs::is_directory(canonical, error)) {
    return absl::NotFoundError(absl::StrCat("--root ", root.string(), " is no folder"));
  }
  return std::unique_ptr<Catalog>(new Catalog(std::move(canonical), limits, std::max(1, threads)));
}

Catalog::FileRecord Catalog::Refused(std::string reason) {
  FileRecord record;
  record.reason = std::move(reason);
  return record;
}

absl::StatusOr<Catalog::FileRecord> Catalog::Unread(const absl::Status& why) {
  if (absl::IsUnavailable(why) || absl::IsResourceExhausted(why)) return why;
  return Refused(std::string(why.message()));
}

absl::StatusOr<Catalog::FileRecord> Catalog::Examine(std::string_view bytes) const {
  const auto header = vision::ReadPictureHeader(bytes, limits_);
  if (!header.ok()) return Refused(std::string(header.status().message()));
  const auto image = vision::DecodePicture(bytes, 3, limits_);
  // The header is within the limits: it is memory that ended, and a good picture may be whole
  // again.
  if (absl::IsResourceExhausted(image.status())) return image.status();
  if (!image.ok()) return Refused(std::string(image.status().message()));
  FileRecord record;
  record.sha256 = Sha256Hex(bytes);
  record.width = header->oriented_width;
  record.height = header->oriented_height;
  return record;
}

absl::StatusOr<Catalog::FileRecord> Catalog::ExamineCached(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    const int error = errno;
    const absl::Status why = ErrnoStatus(error, "reading", path);
    if (error == ELOOP || absl::IsNotFound(why)) return Refused("missing");
    return Unread(why);
  }
  if (!S_ISREG(info.st_mode)) return Refused("not a regular file");
  const int64_t modified = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  {
    MutexLock lock(mutex_);
    const auto found = examined_.find(path.string());
    if (found != examined_.end() && found->second.bytes == info.st_size &&
        found->second.modified == modified) {
      return found->second;
    }
  }
  const absl::StatusOr<bool> below = IsBelow(root_, path);
  if (!below.ok()) return Unread(below.status());
  if (!*below) return Refused("missing, or a link that leaves the root");
  FileRecord record;
  if (info.st_size > limits_.max_bytes) {
    record = Refused(absl::StrCat(path.filename().string(), " has ", info.st_size,
                                  " bytes; at most ", limits_.max_bytes, " are read"));
  } else {
    const auto bytes = ReadFile(path, static_cast<uint64_t>(limits_.max_bytes));
    if (!bytes.ok()) return Unread(bytes.status());
    ATELIER_ASSIGN_OR_RETURN(record, Examine(*bytes));
  }
  record.bytes = info.st_size;
  record.modified = modified;
  MutexLock lock(mutex_);
  examined_[path.string()] = record;
  return record;
}

absl::StatusOr<std::vector<Catalog::FileRecord>> Catalog::ExamineAll(
    const fs::path& folder, const std::vector<FoundFile>& files,
    const DescribeProgressCallback& on_progress, const StopCheck& stop) {
  std::vector<FileRecord> records(files.size());
  std::atomic<size_t> next{0};
  std::atomic<int> done{0};
  const int total = static_cast<int>(files.size());
  Mutex progress_mutex;
  absl::Status first_error;
  const auto work_on = [&](size_t i) -> absl::Status {
    ATELIER_RETURN_IF_ERROR(Asked(stop));
    records[i].reason = files[i].refusal;
    if (files[i].refusal.empty()) {
      ATELIER_ASSIGN_OR_RETURN(records[i], ExamineCached(folder / files[i].file));
    }
    const int finished = ++done;
    MutexLock lock(progress_mutex);
    on_progress(finished, total);
    return absl::OkStatus();
  };
  const auto work = [&] {
    for (size_t i = next++; i < files.size(); i = next++) {
      absl::Status status =
          vision::Guarded("examine the pictures", [&work_on, i] { return work_on(i); });
      if (status.ok()) continue;
      next = files.size();  // the others end too
      MutexLock lock(progress_mutex);
      first_error.Update(std::move(status));
    }
  };
  {
    std::vector<std::jthread> helpers;
    vision::Guarded("start a thread", [&] {
      for (int t = 1; t < threads_; ++t) helpers.emplace_back(work);
      return absl::OkStatus();
    }).IgnoreError();  // those there are do all of it
    work();
  }
  ATELIER_RETURN_IF_ERROR(first_error);
  return records;
}

absl::StatusOr<std::shared_ptr<const Dataset>> Catalog::Describe(
    const v1::DescribeDatasetRequest& request, const DescribeProgressCallback& on_progress,
    const StopCheck& stop) {
  ATELIER_RETURN_IF_ERROR(Asked(stop));
  ATELIER_RETURN_IF_ERROR(CheckBudgetAsked(request.bad_sample_budget()));
  ATELIER_ASSIGN_OR_RETURN(const fs::path folder, ResolveBelow(root_, request.dataset()));
  ATELIER_ASSIGN_OR_RETURN(const FoundLayout found,
                           FindLayout(root_, folder, request.unlabeled_ok()));
  auto dataset = std::make_shared<Dataset>();
  dataset->folder = folder;
  dataset->layout = found.layout;
  dataset->files = static_cast<int>(found.files.size());
  ATELIER_ASSIGN_OR_RETURN(dataset->classes, ChooseClasses(found, request.classes()));
  ATELIER_ASSIGN_OR_RETURN(const std::vector<FileRecord> records,
                           ExamineAll(folder, found.files, on_progress, stop));

  std::map<std::string, std::string> kept_by_digest;
  for (size_t i = 0; i < records.size(); ++i) {
    const FoundFile& file = found.files[i];
    const FileRecord& record = records[i];
    if (!record.reason.empty()) {
      v1::QuarantinedFile& bad = dataset->quarantined.emplace_back();
      bad.set_file(file.file);
      bad.set_reason(record.reason);
      continue;
    }
    // What is to be predicted wants an answer for every file, copies included; and it never stands
    // in for a labeled picture of the same bytes.
    if (!file.test && !request.unlabeled_ok()) {
      const auto [kept, first] = kept_by_digest.emplace(record.sha256, file.file);
      if (!first) {
        v1::DuplicateFile& duplicate = dataset->duplicates.emplace_back();
        duplicate.set_file(file.file);
        duplicate.set_kept(kept->second);
        continue;
      }
    }
    v1::Sample& sample = dataset->samples.emplace_back();
    sample.set_file(file.file);
    sample.set_bytes(record.bytes);
    sample.set_width(record.width);
    sample.set_height(record.height);
    sample.set_sha256(record.sha256);
    sample.set_test(file.test);
    const auto label = std::find(dataset->classes.begin(), dataset->classes.end(), file.class_name);
    sample.set_class_id(
        label == dataset->classes.end() ? -1 : static_cast<int>(label - dataset->classes.begin()));
    dataset->class_of_sample.push_back(sample.class_id());
  }
  ATELIER_RETURN_IF_ERROR(CheckBudget(*dataset, request.bad_sample_budget()));
  dataset->digest = DigestOf(*dataset);
  MutexLock lock(mutex_);
  Remember({folder, dataset->digest, dataset->classes}, dataset);
  if (std::is_sorted(dataset->classes.begin(), dataset->classes.end())) {
    // What a plan without a list of classes means.
    Remember({folder, dataset->digest, {}}, dataset);
  }
  return dataset;
}

void Catalog::Remember(Key key, std::shared_ptr<const Dataset> dataset) {
  std::erase_if(described_, [&](const auto& entry) { return entry.first == key; });
  described_.emplace_front(std::move(key), std::move(dataset));
  if (described_.size() > kMaxDescribed) described_.pop_back();
}

std::shared_ptr<const Dataset> Catalog::Recall(const Key& key) {
  const auto found = std::find_if(described_.begin(), described_.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  if (found == described_.end()) return nullptr;
  described_.splice(described_.begin(), described_, found);
  return described_.front().second;
}

absl::StatusOr<std::shared_ptr<const Dataset>> Catalog::Find(const v1::DataPlan& plan,
                                                             const StopCheck& stop) {
  ATELIER_RETURN_IF_ERROR(Asked(stop));
  ATELIER_ASSIGN_OR_RETURN(fs::path folder, ResolveBelow(root_, plan.dataset()));
  const Key key{
      std::move(folder), plan.dataset_digest(), {plan.classes().begin(), plan.classes().end()}};
  {
    MutexLock lock(mutex_);
    auto known = Recall(key);
    if (known != nullptr) return known;
  }
  v1::DescribeDatasetRequest request;
  request.set_dataset(plan.dataset());
  request.set_bad_sample_budget(1);
  *request.mutable_classes() = plan.classes();
  ATELIER_ASSIGN_OR_RETURN(auto dataset, Describe(request, [](int, int) {}, stop));
  if (dataset->digest != plan.dataset_digest()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the files at ", plan.dataset(), " are not those of the plan: their digest is ",
        dataset->digest.substr(0, 12), ", the plan's ", plan.dataset_digest().substr(0, 12),
        "; restore them or submit a new run"));
  }
  return dataset;
}

absl::StatusOr<std::string> Catalog::ReadSample(const Dataset& dataset, uint32_t sample) const {
  const v1::Sample& entry = dataset.samples[sample];
  const fs::path path = dataset.folder / entry.file();
  ATELIER_ASSIGN_OR_RETURN(const bool below, IsBelow(root_, path));
  if (!below) {
    return absl::FailedPreconditionError(entry.file() + " is gone since the dataset was described");
  }
  ATELIER_ASSIGN_OR_RETURN(std::string bytes,
                           ReadFile(path, static_cast<uint64_t>(limits_.max_bytes)));
  if (Sha256Hex(bytes) != entry.sha256()) {
    return absl::FailedPreconditionError(entry.file() + " changed since the dataset was described");
  }
  return bytes;
}

absl::StatusOr<v1::DatasetSummary> Summarize(const Dataset& dataset, const v1::SplitSpec& split) {
  v1::DatasetSummary summary;
  summary.set_digest(dataset.digest);
  summary.set_layout(dataset.layout);
  summary.set_folder_name(ReplaceInvalidUtf8(dataset.folder.filename().string()));
  *summary.mutable_quarantined() = {dataset.quarantined.begin(), dataset.quarantined.end()};
  *summary.mutable_duplicates() = {dataset.duplicates.begin(), dataset.duplicates.end()};
  for (const std::string& name : dataset.classes) summary.add_classes()->set_name(name);
  for (const int32_t label : dataset.class_of_sample) {
    if (label < 0) {
      summary.set_test(summary.test() + 1);
      continue;
    }
    summary.set_labeled(summary.labeled() + 1);
    v1::ClassCount& count = *summary.mutable_classes(label);
    count.set_found(count.found() + 1);
  }
  if (summary.labeled() == 0) return summary;
  ATELIER_ASSIGN_OR_RETURN(const vision::Composition parts,
                           vision::Compose(dataset.class_of_sample, split));
  const auto count_into = [&](const std::vector<uint32_t>& ids, auto add) {
    for (const uint32_t id : ids) add(*summary.mutable_classes(dataset.class_of_sample[id]));
  };
  count_into(parts.used, [](v1::ClassCount& c) { c.set_used(c.used() + 1); });
  count_into(parts.training, [](v1::ClassCount& c) { c.set_training(c.training() + 1); });
  count_into(parts.validation, [](v1::ClassCount& c) { c.set_validation(c.validation() + 1); });
  return summary;
}

}  // namespace atelier::data
