// Which files of a folder are samples, and of which class: the layouts of `--data`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/data_service.pb.h"

namespace atelier::data {

struct FoundFile {
  std::string file;        // relative to the dataset, '/' separators
  std::string class_name;  // empty: none
  bool test = false;
  std::string refusal;  // not empty: why it is quarantined without being opened
};

struct FoundLayout {
  v1::DatasetLayout layout = v1::DATASET_LAYOUT_UNSPECIFIED;
  std::vector<FoundFile> files;          // sorted bytewise by file
  std::vector<std::string> class_names;  // sorted bytewise
};

// Tried in this order: TRAIN_TEST (a folder train/ with folders), CSV_FLAT (one *.csv with the
// columns filename and category), CLASS_FOLDERS (folders with files; train/ and test/ alone are
// none unless `unlabeled_ok`), then a flat folder: UNLABELED if `unlabeled_ok`, else NAME_PREFIX
// (every name is CLASS_rest or CLASS followed by digits, as dog_3.jpg, dog12.jpg). Hidden files are
// ignored; a file whose name is not UTF-8 is refused, its name escaped. Links are followed as long
// as they stay below `root` (canonical; `dataset` is, too) and enter no folder twice.
// InvalidArgument: such a link does, a table is damaged, or no layout fits; the message says what
// each would look like.
absl::StatusOr<FoundLayout> FindLayout(const std::filesystem::path& root,
                                       const std::filesystem::path& dataset, bool unlabeled_ok);

}  // namespace atelier::data
