#include "services/data/layout.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/vision/decode.h"
#include "services/data/csv.h"
#include "services/data/path_guard.h"

namespace atelier::data {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxCsvBytes = 64 << 20;

bool Hidden(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.empty() || name[0] == '.' || name == "Thumbs.db";
}

struct Listing {
  std::vector<std::string> files;    // names
  std::vector<std::string> folders;  // names
};

absl::Status Unlisted(const std::error_code& error, const fs::path& dir) {
  absl::Status status = ErrnoStatus(error.value(), "listing the folder",
                                    dir.has_filename() ? dir : dir.parent_path());
  if (!absl::IsPermissionDenied(status)) return status;
  return absl::PermissionDeniedError(absl::StrCat(status.message(),
                                                  "; let the user of the data-service (id ",
                                                  ::geteuid(), ") read it and enter it"));
}

// All of it or an error: what cannot be listed must not look like a smaller dataset.
absl::StatusOr<Listing> List(const fs::path& dir) {
  Listing listing;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    if (Hidden(it->path())) continue;
    std::error_code unknown;
    const fs::file_type type = it->status(unknown).type();
    std::string name = it->path().filename().string();
    if (type == fs::file_type::directory) {
      listing.folders.push_back(std::move(name));
    } else if (type == fs::file_type::regular || type == fs::file_type::none ||
               type == fs::file_type::not_found) {
      listing.files.push_back(std::move(name));  // a link to nothing is quarantined by name
    }
  }
  if (error) return Unlisted(error, dir);
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  return listing;
}

// Collects the files of folders. A folder reached twice would be a loop, or one picture under two
// labels.
class FolderWalk {
 public:
  FolderWalk(const fs::path& root, const fs::path& dataset) : root_(root), dataset_(dataset) {}

  // Every file below dataset/`folder`; `folder` is empty or ends with '/'.
  absl::Status Add(const std::string& folder, const std::string& class_name, bool test) {
    const fs::path dir = dataset_ / folder;
    std::error_code error;
    const fs::path real = fs::canonical(dir, error);
    if (error) return Unlisted(error, dir);
    ATELIER_ASSIGN_OR_RETURN(const bool below, IsBelow(root_, real));
    if (!below) {
      return Refused(folder, "a link that leaves the data-service's root");
    }
    if (!entered_.insert(real).second) return Refused(folder, "a link to a folder read already");
    ATELIER_ASSIGN_OR_RETURN(const Listing listing, List(dir));
    for (const std::string& name : listing.files) {
      files_.push_back({folder + name, class_name, test, ""});
    }
    for (const std::string& name : listing.folders) {
      ATELIER_RETURN_IF_ERROR(Add(absl::StrCat(folder, name, "/"), class_name, test));
    }
    return absl::OkStatus();
  }

  // Every folder of dataset/`folder` as a class.
  absl::Status AddClasses(const std::string& folder) {
    ATELIER_ASSIGN_OR_RETURN(const Listing listing, List(dataset_ / folder));
    for (const std::string& name : listing.folders) {
      ATELIER_RETURN_IF_ERROR(Add(absl::StrCat(folder, name, "/"), name, false));
    }
    return absl::OkStatus();
  }

  std::vector<FoundFile>& files() { return files_; }

 private:
  static absl::Status Refused(std::string folder, std::string_view why) {
    folder.pop_back();
    return absl::InvalidArgumentError(
        absl::StrCat("the folder ", absl::Utf8SafeCHexEscape(folder), " is ", std::string(why)));
  }

  const fs::path& root_;
  const fs::path& dataset_;
  std::set<fs::path> entered_;
  std::vector<FoundFile> files_;
};

FoundLayout Finished(v1::DatasetLayout layout, std::vector<FoundFile> files) {
  FoundLayout found;
  found.layout = layout;
  found.files = std::move(files);
  for (FoundFile& file : found.files) {
    if (IsUtf8(file.file)) continue;
    file.file = absl::CHexEscape(file.file);
    file.refusal = "its name is not UTF-8: rename it";
  }
  std::sort(found.files.begin(), found.files.end(),
            [](const FoundFile& a, const FoundFile& b) { return a.file < b.file; });
  std::set<std::string> names;
  for (const FoundFile& file : found.files) {
    if (!file.class_name.empty() && IsUtf8(file.class_name)) names.insert(file.class_name);
  }
  found.class_names.assign(names.begin(), names.end());
  return found;
}

absl::StatusOr<std::vector<FoundFile>> FromCsv(const fs::path& root, const fs::path& dir,
                                               const std::string& csv) {
  ATELIER_ASSIGN_OR_RETURN(const bool below, IsBelow(root, dir / csv));
  if (!below) {
    return absl::InvalidArgumentError(
        absl::StrCat(csv, " is a link that leaves the data-service's root"));
  }
  ATELIER_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir / csv, kMaxCsvBytes));
  ATELIER_ASSIGN_OR_RETURN(const auto rows, ParseCsv(text));
  std::optional<size_t> file_column;
  std::optional<size_t> class_column;
  for (size_t i = 0; !rows.empty() && i < rows[0].size(); ++i) {
    const std::string name = absl::AsciiStrToLower(rows[0][i]);
    if (name == "filename") file_column = i;
    if (name == "category") class_column = i;
  }
  if (!file_column || !class_column) {
    return absl::InvalidArgumentError(
        absl::StrCat(csv, ": the first line must name the columns filename and category"));
  }
  std::vector<FoundFile> files;
  std::set<std::string> seen;
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::string& file = rows[i][*file_column];
    const fs::path path(file);
    if (file.empty() || path.is_absolute() || file.find('\\') != std::string::npos ||
        file.find('\0') != std::string::npos ||
        std::find(path.begin(), path.end(), "..") != path.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(csv, " row ", i + 1, ": filename must be relative and stay in the folder"));
    }
    if (!seen.insert(file).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(csv, " row ", i + 1, ": the file was named before"));
    }
    files.push_back({file, rows[i][*class_column], rows[i][*class_column].empty(), ""});
  }
  return files;
}

// "dog_12.jpg" -> dog, "dog12.jpg" -> dog; empty when there is no such prefix.
std::string PrefixOf(const std::string& name) {
  const std::string stem = fs::path(name).stem().string();
  const size_t underscore = stem.find('_');
  if (underscore != std::string::npos) return stem.substr(0, underscore);
  size_t end = stem.size();
  while (end > 0 && std::isdigit(static_cast<unsigned char>(stem[end - 1])) != 0) --end;
  return end < stem.size() ? stem.substr(0, end) : "";
}

std::optional<std::vector<FoundFile>> FromPrefixes(const std::vector<std::string>& names) {
  std::vector<FoundFile> files;
  std::map<std::string, int> counts;
  for (const std::string& name : names) {
    if (!vision::HasPictureExtension(name)) continue;
    std::string prefix = PrefixOf(name);
    if (prefix.empty()) return std::nullopt;
    ++counts[prefix];
    files.push_back({name, std::move(prefix), false, ""});
  }
  if (counts.size() < 2) return std::nullopt;
  return files;
}

}  // namespace

absl::StatusOr<FoundLayout> FindLayout(const fs::path& root, const fs::path& dataset,
                                       bool unlabeled_ok) {
  ATELIER_ASSIGN_OR_RETURN(const Listing listing, List(dataset));
  FolderWalk walk(root, dataset);
  const auto has_folder = [&](const char* name) {
    return std::binary_search(listing.folders.begin(), listing.folders.end(), name);
  };
  Listing train;
  if (has_folder("train")) {
    ATELIER_ASSIGN_OR_RETURN(train, List(dataset / "train"));
  }
  if (!train.folders.empty()) {
    ATELIER_RETURN_IF_ERROR(walk.AddClasses("train/"));
    if (has_folder("test")) ATELIER_RETURN_IF_ERROR(walk.Add("test/", "", true));
    return Finished(v1::TRAIN_TEST, std::move(walk.files()));
  }
  std::vector<std::string> tables;
  std::copy_if(listing.files.begin(), listing.files.end(), std::back_inserter(tables),
               [](const std::string& name) {
                 return absl::AsciiStrToLower(fs::path(name).extension().string()) == ".csv";
               });
  if (tables.size() == 1) {
    ATELIER_ASSIGN_OR_RETURN(std::vector<FoundFile> files, FromCsv(root, dataset, tables[0]));
    return Finished(v1::CSV_FLAT, std::move(files));
  }
  if (tables.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the folder has ", tables.size(), " CSV files (", tables[0], ", ", tables[1],
                     ", …); keep the one with the columns filename and category"));
  }
  // A class may be called train. Beside test/ alone it is a training part without classes, and what
  // tells it from test/ is not what anybody wants to learn.
  const bool parts_only = listing.folders == std::vector<std::string>{"test", "train"};
  if (unlabeled_ok || !parts_only) {
    ATELIER_RETURN_IF_ERROR(walk.AddClasses(""));
  }
  std::vector<FoundFile>& files = walk.files();
  const bool folders = !files.empty();
  if (unlabeled_ok) {
    // Pictures beside class folders are to be predicted, too.
    for (const std::string& name : listing.files) files.push_back({name, "", true, ""});
  }
  if (folders) return Finished(v1::CLASS_FOLDERS, std::move(files));
  if (unlabeled_ok && !files.empty()) {
    return Finished(v1::UNLABELED, std::move(files));
  }
  if (auto prefixed = FromPrefixes(listing.files)) {
    return Finished(v1::NAME_PREFIX, *std::move(prefixed));
  }
  return absl::InvalidArgumentError(
      "no labelled pictures recognised; expected one of: folders of classes (dog/1.jpg), "
      "train/<class>/ and test/, a CSV with the columns filename,category beside the pictures, or "
      "names that begin with the class (dog_1.jpg, cat_1.jpg)");
}

}  // namespace atelier::data
