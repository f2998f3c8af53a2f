#include "services/cli/pictures.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/outcome.h"

namespace atelier::cli {
namespace fs = std::filesystem;
namespace {

// One request: within the 64 pictures and 16 MiB of the aggregator, small enough to show progress.
constexpr int kBatchPictures = 32;
constexpr size_t kBatchBytes = size_t{14} << 20;
// Read in full only to be refused by name with the decoder's own reason.
constexpr uint64_t kMaxFileBytes = uint64_t{64} << 20;

// A picture by its ending, whether or not it is of a format we read: a GIF among the pictures
// should be named, not passed over in silence.
bool LooksLikePicture(const fs::path& path) {
  const std::string ending = absl::AsciiStrToLower(path.extension().string());
  return vision::HasPictureExtension(path.filename().string()) || ending == ".gif" ||
         ending == ".tif" || ending == ".tiff" || ending == ".heic" || ending == ".jpe";
}

// Links are followed; a folder that they reach twice would be a loop, or pictures under two names.
class EnteredFolders {
 public:
  absl::Status Enter(const fs::path& folder) {
    std::error_code error;
    const fs::path real = fs::canonical(folder, error);
    if (error) return absl::OkStatus();  // the walk says what is wrong with it
    if (entered_.insert(real).second) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(folder.string(), " is a folder read already, through a link"));
  }

 private:
  std::set<fs::path> entered_;
};

absl::Status WalkFolder(const fs::path& folder, std::vector<PictureFile>& found) {
  EnteredFolders entered;
  ATELIER_RETURN_IF_ERROR(entered.Enter(folder));
  std::error_code error;
  fs::recursive_directory_iterator walk(folder, fs::directory_options::follow_directory_symlink,
                                        error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    const fs::path& path = walk->path();
    if (path.filename().string().starts_with('.')) {
      walk.disable_recursion_pending();
      continue;
    }
    std::error_code unknown;
    const fs::file_type type = walk->status(unknown).type();
    if (type == fs::file_type::directory) ATELIER_RETURN_IF_ERROR(entered.Enter(path));
    const bool gone =
        type == fs::file_type::none || type == fs::file_type::not_found;  // a link's end
    if ((type == fs::file_type::regular || gone) && LooksLikePicture(path)) {
      found.push_back({path.lexically_relative(folder).generic_string(), path});
    }
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("reading ", folder.string(), ": ", error.message()));
  }
  return absl::OkStatus();
}

void Append(const ensemble::Probabilities& rows, ensemble::Probabilities& to) {
  to.columns = rows.columns;
  to.rows += rows.rows;
  to.values.insert(to.values.end(), rows.values.begin(), rows.values.end());
}

class Run {
 public:
  Run(aggregator::AggregatorClient& aggregator, const std::vector<PictureFile>& pictures,
      const PredictOptions& options)
      : aggregator_(aggregator), pictures_(pictures), options_(options) {}

  absl::StatusOr<Predictions> All() {
    for (size_t i = 0; i < pictures_.size(); ++i) {
      ATELIER_RETURN_IF_ERROR(Add(i));
      if (request_.images_size() >= kBatchPictures) ATELIER_RETURN_IF_ERROR(Flush());
    }
    ATELIER_RETURN_IF_ERROR(Flush());
    // One that cannot be opened is found before its neighbours are decoded.
    std::sort(result_.bad.begin(), result_.bad.end(),
              [](const BadPicture& a, const BadPicture& b) { return a.name < b.name; });
    return std::move(result_);
  }

 private:
  absl::Status Add(size_t index) {
    absl::StatusOr<std::string> bytes = ReadFile(pictures_[index].path, kMaxFileBytes);
    if (!bytes.ok()) return Bad(index, bytes.status());
    if (static_cast<int64_t>(bytes->size()) > options_.limits.max_bytes) {
      return Bad(index, vision::ReadPictureHeader(*bytes, options_.limits).status());
    }
    if (!indexes_.empty() && bytes_ + bytes->size() > kBatchBytes) ATELIER_RETURN_IF_ERROR(Flush());
    bytes_ += bytes->size();
    request_.add_images(std::move(*bytes));
    indexes_.push_back(index);
    return absl::OkStatus();
  }

  absl::Status Bad(size_t index, const absl::Status& reason) {
    const std::string text(reason.message());
    if (!options_.skip_bad) {
      return absl::InvalidArgumentError(
          absl::StrCat(pictures_[index].name, ": ", text, "; --skip-bad leaves such pictures out"));
    }
    result_.bad.push_back({pictures_[index].name, text});
    return absl::OkStatus();
  }

  // Takes the pictures that do not decode here either out of the request. False: all are fine.
  absl::StatusOr<bool> DropBad() {
    v1::AggregatorPredictRequest good;
    std::vector<size_t> kept;
    for (int i = 0; i < request_.images_size(); ++i) {
      const size_t index = indexes_[static_cast<size_t>(i)];
      const absl::Status status =
          vision::DecodePicture(request_.images(i), 3, options_.limits).status();
      if (status.ok()) {
        good.add_images(request_.images(i));
        kept.push_back(index);
      } else {
        ATELIER_RETURN_IF_ERROR(Bad(index, status));
      }
    }
    const bool dropped = kept.size() < indexes_.size();
    request_ = std::move(good);
    indexes_ = std::move(kept);
    return dropped;
  }

  absl::Status Flush() {
    while (!indexes_.empty()) {
      request_.set_want_members(options_.want_members);
      const auto response = aggregator_.Predict(request_);
      if (response.ok()) {
        ATELIER_RETURN_IF_ERROR(Take(*response));
        break;
      }
      const bool about_pictures = absl::IsInvalidArgument(response.status()) ||
                                  absl::IsResourceExhausted(response.status());
      if (!about_pictures) return response.status();
      ATELIER_ASSIGN_OR_RETURN(const bool dropped, DropBad());
      if (!dropped) return response.status();
    }
    request_.Clear();
    indexes_.clear();
    bytes_ = 0;
    return absl::OkStatus();
  }

  absl::Status Take(const v1::AggregatorPredictResponse& response) {
    ATELIER_ASSIGN_OR_RETURN(const ensemble::Probabilities rows,
                             ensemble::FromMatrix(response.probabilities()));
    if (rows.rows != static_cast<int>(indexes_.size())) {
      return absl::InternalError(absl::StrCat("the aggregator answered ", rows.rows, " rows for ",
                                              indexes_.size(), " pictures"));
    }
    if (!result_.ensemble_version.empty() &&
        result_.ensemble_version != response.ensemble_version()) {
      return absl::AbortedError(absl::StrCat("another version was promoted meanwhile (",
                                             result_.ensemble_version, ", then ",
                                             response.ensemble_version(), "); predict again"));
    }
    result_.ensemble_version = response.ensemble_version();
    Append(rows, result_.combined);
    for (const v1::MemberProbabilities& member : response.members()) {
      ATELIER_ASSIGN_OR_RETURN(const ensemble::Probabilities part,
                               ensemble::FromMatrix(member.probabilities()));
      Append(part, result_.members[member.member()]);
    }
    result_.degraded = result_.degraded || response.degraded();
    for (const std::string& failed : response.members_failed()) {
      if (std::find(result_.members_failed.begin(), result_.members_failed.end(), failed) ==
          result_.members_failed.end()) {
        result_.members_failed.push_back(failed);
      }
    }
    for (const size_t index : indexes_) {
      result_.indexes.push_back(index);
      result_.names.push_back(pictures_[index].name);
    }
    if (options_.on_progress) {
      options_.on_progress(static_cast<int>(result_.names.size() + result_.bad.size()),
                           static_cast<int>(pictures_.size()));
    }
    return absl::OkStatus();
  }

  aggregator::AggregatorClient& aggregator_;
  const std::vector<PictureFile>& pictures_;
  const PredictOptions& options_;
  v1::AggregatorPredictRequest request_;
  std::vector<size_t> indexes_;  // of the request's pictures
  size_t bytes_ = 0;
  Predictions result_;
};

}  // namespace

absl::StatusOr<std::vector<PictureFile>> ListPictures(const std::vector<std::string>& paths) {
  std::vector<PictureFile> found;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      ATELIER_RETURN_IF_ERROR(WalkFolder(path, found));
    } else if (fs::exists(path, error)) {
      found.push_back({path, path});
    } else {
      return WrongUsage(absl::NotFoundError(absl::StrCat("no such file or folder: ", path)));
    }
  }
  if (found.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no picture (.jpg .jpeg .png .webp .bmp) in ", absl::StrJoin(paths, ", ")));
  }
  std::sort(found.begin(), found.end(),
            [](const PictureFile& a, const PictureFile& b) { return a.name < b.name; });
  return found;
}

absl::StatusOr<fs::path> ExistingFolder(const std::string& named) {
  std::error_code error;
  const fs::path folder = fs::canonical(named, error);
  if (!error && fs::is_directory(folder, error)) return folder;
  return WrongUsage(absl::NotFoundError(absl::StrCat(named, " is no folder")));
}

absl::StatusOr<Predictions> PredictPictures(aggregator::AggregatorClient& aggregator,
                                            const std::vector<PictureFile>& pictures,
                                            const PredictOptions& options) {
  return Run(aggregator, pictures, options).All();
}

}  // namespace atelier::cli
