#include "services/cli/weights/cache_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"

namespace atelier::cli {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<FetchLock>> FetchLock::Wait(const fs::path& path,
                                                           const std::function<void()>& waiting) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return absl::PermissionDeniedError(absl::StrCat("cannot write to ", path.parent_path().string(),
                                                    ": ", std::strerror(errno),
                                                    "; set ATELIER_HOME to a folder of yours"));
  }
  std::unique_ptr<FetchLock> lock(new FetchLock(fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK && waiting) waiting();
  while (::flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("flock: ", std::strerror(errno)));
    }
  }
  return lock;
}

FetchLock::~FetchLock() { ::close(fd_); }

absl::StatusOr<std::unique_ptr<WorkFolder>> WorkFolder::Open(
    const fs::path& path, const std::vector<std::string>& files) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(path));
  std::unique_ptr<WorkFolder> folder(new WorkFolder(path, files));
  folder->Clear();
  return folder;
}

void WorkFolder::Clear() const {
  std::error_code error;
  std::vector<fs::path> others;
  for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    bool keep = false;
    for (const std::string& file : files_) {
      keep = keep || name == file || name == file + ".partial" || name == file + ".partial.json";
    }
    // An empty partial file is the trace of a server that was never reached.
    const size_t partial = name.rfind(".partial");
    if (keep && partial != name.npos) {
      std::error_code absent;
      const uint64_t size = fs::file_size(path_ / (name.substr(0, partial) + ".partial"), absent);
      keep = !absent && size > 0;
    }
    if (!keep) others.push_back(it->path());
  }
  std::error_code ignored;
  for (const fs::path& other : others) fs::remove_all(other, ignored);
}

WorkFolder::~WorkFolder() {
  Clear();
  std::error_code not_empty;
  fs::remove(path_, not_empty);
}

}  // namespace atelier::cli
