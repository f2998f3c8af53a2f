// Datasets below one root: found, hashed, checked, described. Never writes.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/data_plan.pb.h"
#include "atelier/v1/data_service.pb.h"
#include "common/concurrency/mutex.h"
#include "common/vision/decode.h"
#include "services/data/layout.h"

namespace atelier::data {

// One described dataset; immutable.
struct Dataset {
  std::filesystem::path folder;
  v1::DatasetLayout layout = v1::DATASET_LAYOUT_UNSPECIFIED;
  std::string digest;
  std::vector<std::string> classes;
  std::vector<v1::Sample> samples;       // sorted bytewise by file; the index is the sample id
  std::vector<int32_t> class_of_sample;  // -1: none
  std::vector<v1::QuarantinedFile> quarantined;
  std::vector<v1::DuplicateFile> duplicates;
  int files = 0;  // looked at, quarantined and duplicates included
};

using DescribeProgressCallback = std::function<void(int done, int total)>;
// Asked at the beginning and before each file, from any thread: an error ends the work with it.
// Empty: nothing ends it early.
using StopCheck = std::function<absl::Status()>;

// Thread-safe.
class Catalog {
 public:
  // InvalidArgument when `root` is not absolute, NotFound when it is no folder.
  static absl::StatusOr<std::unique_ptr<Catalog>> Create(const std::filesystem::path& root,
                                                         const vision::DecodeLimits& limits,
                                                         int threads);

  // Every file is read, header-checked, decoded once and hashed, by `threads` at a time; what did
  // not change since (size, mtime) is not read again. Errors as DescribeDataset's, among them
  // ResourceExhausted without memory and Unavailable where reading fails for now: no file is blamed
  // for that. One that was stopped has looked
  // at some files, which the next does not read again; no other caller's ends with it.
  absl::StatusOr<std::shared_ptr<const Dataset>> Describe(
      const v1::DescribeDatasetRequest& request, const DescribeProgressCallback& on_progress,
      const StopCheck& stop = {});

  // The dataset of a plan: the one described at plan.dataset with its digest and order of classes,
  // else what is there now, described. Errors as Describe's, and FailedPrecondition when that has
  // another digest.
  absl::StatusOr<std::shared_ptr<const Dataset>> Find(const v1::DataPlan& plan,
                                                      const StopCheck& stop = {});

  // A sample's encoded bytes, checked against the manifest: FailedPrecondition when the file
  // changed or is gone. As ErrnoStatus: it could not be read.
  absl::StatusOr<std::string> ReadSample(const Dataset& dataset, uint32_t sample) const;

  const vision::DecodeLimits& limits() const { return limits_; }

 private:
  struct FileRecord {
    int64_t bytes = 0;
    int64_t modified = 0;
    std::string sha256;
    int width = 0;
    int height = 0;
    std::string reason;  // not empty: no decodable picture
  };

  Catalog(std::filesystem::path root, const vision::DecodeLimits& limits, int threads)
      : root_(std::move(root)), limits_(limits), threads_(threads) {}

  // Errors are none of the file's: see Describe.
  absl::StatusOr<FileRecord> Examine(std::string_view bytes) const;
  // What its bytes say is remembered by (size, mtime). What kept it from being read is not: a
  // right, a link or a disk changes without them.
  absl::StatusOr<FileRecord> ExamineCached(const std::filesystem::path& path);
  static FileRecord Refused(std::string reason);
  // Refused, but an error when it would be another time: the disk or the network failed, or
  // descriptors or memory ended (its size was within the limit).
  static absl::StatusOr<FileRecord> Unread(const absl::Status& why);
  absl::StatusOr<std::vector<FileRecord>> ExamineAll(const std::filesystem::path& folder,
                                                     const std::vector<FoundFile>& files,
                                                     const DescribeProgressCallback& on_progress,
                                                     const StopCheck& stop);

  // The digest knows neither the order of the classes, which labels depend on, nor the folder,
  // which samples are read from: another of equal content may go at any time.
  struct Key {
    std::filesystem::path folder;
    std::string digest;
    std::vector<std::string> classes;
    bool operator==(const Key&) const = default;
  };
  void Remember(Key key, std::shared_ptr<const Dataset> dataset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The dataset of `key` becomes the one used last; nullptr: there is none.
  std::shared_ptr<const Dataset> Recall(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::filesystem::path root_;
  const vision::DecodeLimits limits_;
  const int threads_;
  Mutex mutex_;
  std::map<std::string, FileRecord> examined_ ABSL_GUARDED_BY(mutex_);
  // Most recently used first; few, for each lists all its files.
  std::list<std::pair<Key, std::shared_ptr<const Dataset>>> described_ ABSL_GUARDED_BY(mutex_);
};

// Class counts per split and everything else a summary tells. InvalidArgument on a split that
// cannot be made (the message has the numbers).
absl::StatusOr<v1::DatasetSummary> Summarize(const Dataset& dataset, const v1::SplitSpec& split);

}  // namespace atelier::data
