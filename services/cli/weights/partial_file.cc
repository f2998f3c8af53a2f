#include "services/cli/weights/partial_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "nlohmann/json.hpp"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kMaxNoteBytes = 1 << 16;

absl::Status Failed(const fs::path& path) {
  const int error = errno;
  const std::string text = absl::StrCat("writing ", path.string(), ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  return absl::UnavailableError(text);
}

PartialNote ReadNote(const fs::path& path) {
  const auto text = ReadFile(path, kMaxNoteBytes);
  if (!text.ok()) return {};
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  for (const char* field : {"url", "validator"}) {
    if (!json.contains(field) || !json[field].is_string()) return {};
  }
  return {json["url"], json["validator"]};
}

}  // namespace

PartialFile::PartialFile(fs::path target, int fd)
    : target_(std::move(target)),
      path_(target_.string() + ".partial"),
      note_path_(path_.string() + ".json"),
      fd_(fd) {}

PartialFile::~PartialFile() { ::close(fd_); }

absl::StatusOr<std::unique_ptr<PartialFile>> PartialFile::Open(const fs::path& target) {
  const std::string path = target.string() + ".partial";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return Failed(path);
  std::unique_ptr<PartialFile> file(new PartialFile(target, fd));
  const off_t end = ::lseek(fd, 0, SEEK_END);
  if (end < 0) return Failed(path);
  file->size_ = static_cast<uint64_t>(end);
  file->note_ = ReadNote(file->note_path_);
  return file;
}

absl::Status PartialFile::Restart(PartialNote note) {
  if (::ftruncate(fd_, 0) != 0) return Failed(path_);
  size_ = 0;
  note_ = std::move(note);
  const Json json = {{"url", note_.url}, {"validator", note_.validator}};
  return WriteFileAtomically(note_path_,
                             json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

absl::Status PartialFile::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(path_);
    size_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status PartialFile::Commit() {
  if (::fsync(fd_) != 0) return Failed(path_);
  std::error_code error;
  fs::rename(path_, target_, error);
  if (error) return absl::UnavailableError(absl::StrCat("renaming: ", error.message()));
  fs::remove(note_path_, error);
  return absl::OkStatus();
}

}  // namespace atelier::cli
