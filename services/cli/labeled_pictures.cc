#include "services/cli/labeled_pictures.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "services/cli/command.h"
#include "services/cli/embedded.h"
#include "services/data/client.h"

namespace atelier::cli {
namespace {

struct Labeled {
  PictureFile file;
  int label = 0;
};

// A dropped copy may lie in another class's folder than the file that was kept.
int LabelOfCopy(const v1::DuplicateFile& copy, const std::map<std::string, int>& found,
                const std::map<std::string, int>& label_of) {
  const std::filesystem::path path(copy.file());
  const auto folder = found.find(path.parent_path().filename().string());
  if (folder != found.end()) return folder->second;
  const auto kept = label_of.find(copy.kept());
  return kept == label_of.end() ? -1 : kept->second;
}

// Class index in the folder -> class index of the ensemble.
absl::StatusOr<std::vector<int>> MapClasses(const v1::DatasetSummary& summary,
                                            const std::vector<std::string>& classes) {
  std::vector<int> map;
  for (const v1::ClassCount& count : summary.classes()) {
    const auto at = std::find(classes.begin(), classes.end(), count.name());
    if (at == classes.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("class \"", count.name(),
                       "\" of the data is none of the ensemble's: ", absl::StrJoin(classes, ", ")));
    }
    map.push_back(static_cast<int>(at - classes.begin()));
  }
  return map;
}

}  // namespace

absl::StatusOr<LabeledPictures> FindLabeledPictures(const std::string& folder,
                                                    const std::vector<std::string>& classes,
                                                    const vision::DecodeLimits& limits) {
  ATELIER_ASSIGN_OR_RETURN(const std::filesystem::path root, ExistingFolder(folder));
  EmbeddedOptions options;
  options.data_root = root;
  options.pictures = limits;
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<Embedded> embedded, Embedded::Start(options));
  const auto client = data::DataClient::Create(embedded->channels()->Connect(kEmbeddedData));
  v1::DescribeDatasetRequest request;
  request.set_dataset(".");
  request.set_want_manifest(true);
  request.set_bad_sample_budget(1);  // what does not decode is named and left out, however many
  ATELIER_ASSIGN_OR_RETURN(const data::DatasetDescription found,
                           client->Describe(request, [](const v1::DescribeProgress&) {}));
  ATELIER_ASSIGN_OR_RETURN(const std::vector<int> map, MapClasses(found.summary, classes));

  std::map<std::string, int> class_of_name;
  for (int i = 0; i < found.summary.classes_size(); ++i) {
    class_of_name[found.summary.classes(i).name()] = map[static_cast<size_t>(i)];
  }
  std::vector<Labeled> labeled;
  std::map<std::string, int> label_of;
  for (const v1::Sample& sample : found.samples) {
    if (sample.class_id() < 0 || sample.test()) continue;
    const int label = map.at(static_cast<size_t>(sample.class_id()));
    labeled.push_back({{sample.file(), root / sample.file()}, label});
    label_of[sample.file()] = label;
  }
  for (const v1::DuplicateFile& copy : found.summary.duplicates()) {
    const int label = LabelOfCopy(copy, class_of_name, label_of);
    if (label >= 0) labeled.push_back({{copy.file(), root / copy.file()}, label});
  }
  for (const v1::QuarantinedFile& bad : found.summary.quarantined()) {
    Say(absl::StrCat("left out ", bad.file(), ": ", bad.reason()));
  }
  if (labeled.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, " has no labelled pictures; atelier data inspect ", folder,
                     " says how it is read"));
  }
  std::sort(labeled.begin(), labeled.end(),
            [](const Labeled& a, const Labeled& b) { return a.file.name < b.file.name; });
  LabeledPictures pictures;
  for (Labeled& one : labeled) {
    pictures.files.push_back(std::move(one.file));
    pictures.labels.push_back(one.label);
  }
  return pictures;
}

}  // namespace atelier::cli
