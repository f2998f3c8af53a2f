#include "common/base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier {
namespace {

namespace fs = std::filesystem;

fs::path ParentOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// A lock of an open file description: unlike flock's it can be asked for without being taken.
struct flock ExclusiveLock() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;  // with a length of 0: the whole file
  return lock;
}

fs::path HomeOr(const char* below) {
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr && *home != '\0' ? home : "/tmp") / below;
}

}  // namespace

absl::Status ErrnoStatus(int error, std::string_view doing, const fs::path& path) {
  const std::string text =
      absl::StrCat(std::string(doing), " ", path.filename().string(), ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case EEXIST:
    case EISDIR:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<std::string> ReadFile(const fs::path& path, uint64_t max_bytes) {
  // Without O_NONBLOCK a named pipe would keep us until somebody writes.
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "opening", path);
  struct stat info{};
  absl::Status status;
  std::string bytes;
  if (::fstat(fd, &info) != 0) {
    status = ErrnoStatus(errno, "reading", path);
  } else if (!S_ISREG(info.st_mode)) {
    status = absl::InvalidArgumentError(
        absl::StrCat("reading ", path.filename().string(), ": not a regular file"));
  } else if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    status =
        absl::ResourceExhaustedError(absl::StrCat(path.filename().string(), " has ", info.st_size,
                                                  " bytes; at most ", max_bytes, " are read"));
  } else {
    bytes.resize(static_cast<size_t>(info.st_size));
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        status = ErrnoStatus(errno, "reading", path);
        break;
      }
      if (n == 0) break;  // shrank meanwhile
      done += static_cast<size_t>(n);
    }
    bytes.resize(done);
  }
  ::close(fd);
  if (!status.ok()) return status;
  return bytes;
}

absl::Status WriteFileAtomically(const fs::path& path, std::string_view bytes) {
  ATELIER_ASSIGN_OR_RETURN(auto writer, AtomicFileWriter::Create(path));
  ATELIER_RETURN_IF_ERROR(writer->Append(bytes));
  return writer->Commit();
}

AtomicFileWriter::AtomicFileWriter(fs::path target, fs::path temp, int fd)
    : target_(std::move(target)), temp_(std::move(temp)), fd_(fd) {}

AtomicFileWriter::~AtomicFileWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!temp_.empty()) ::unlink(temp_.c_str());
}

absl::StatusOr<std::unique_ptr<AtomicFileWriter>> AtomicFileWriter::Create(const fs::path& path) {
  static std::atomic<uint64_t> counter{0};
  fs::path temp;
  int fd = -1;
  // A name that is taken is what a killed process of our id left behind: in a container each is 1.
  do {
    temp = path;
    temp += absl::StrCat(".tmp.", ::getpid(), ".", counter.fetch_add(1));
    fd = ::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EEXIST);
  if (fd < 0) return ErrnoStatus(errno, "creating", path);
  return std::unique_ptr<AtomicFileWriter>(new AtomicFileWriter(path, std::move(temp), fd));
}

absl::Status AtomicFileWriter::Append(std::string_view bytes) {
  if (!status_.ok()) return status_;
  if (fd_ < 0) return absl::FailedPreconditionError("already synced");
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return status_ = ErrnoStatus(errno, "writing", target_);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status AtomicFileWriter::Sync() {
  if (!status_.ok() || fd_ < 0) return status_;
  if (::fsync(fd_) != 0) return status_ = ErrnoStatus(errno, "fsync of", target_);
  if (::close(fd_) != 0) status_ = ErrnoStatus(errno, "closing", target_);
  fd_ = -1;
  return status_;
}

absl::Status AtomicFileWriter::Commit() { return CommitAs(target_); }

absl::Status AtomicFileWriter::CommitAs(const fs::path& path) {
  ATELIER_RETURN_IF_ERROR(Sync());
  if (::rename(temp_.c_str(), path.c_str()) != 0) {
    return status_ = ErrnoStatus(errno, "renaming to", path);
  }
  temp_.clear();
  status_ = SyncDirectory(ParentOf(path));
  if (!status_.ok()) return status_;
  status_ = absl::FailedPreconditionError("already committed");
  return absl::OkStatus();
}

absl::Status SyncDirectory(const fs::path& dir) {
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "opening folder", dir);
  const int rc = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  return rc == 0 ? absl::OkStatus() : ErrnoStatus(error, "fsync of folder", dir);
}

absl::Status MakeDirectories(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return absl::OkStatus();
  const fs::path parent = path.parent_path();
  if (!parent.empty() && parent != path) ATELIER_RETURN_IF_ERROR(MakeDirectories(parent));
  if (::mkdir(path.c_str(), 0777) != 0) {
    const int error = errno;
    if (error != EEXIST) return ErrnoStatus(error, "creating folder", path);
    // Another made it meanwhile, or it was "a/." all along; or a file is in the way.
    return fs::is_directory(path, ignored) ? absl::OkStatus()
                                           : ErrnoStatus(ENOTDIR, "creating folder", path);
  }
  const absl::Status synced = SyncDirectory(ParentOf(path));
  // Its name may not be durable: whoever asks next must not find it there and take it for made.
  if (!synced.ok()) ::rmdir(path.c_str());
  return synced;
}

bool IsSafeName(std::string_view name) {
  const auto alnum = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > 64 || !alnum(name[0])) return false;
  for (const char c : name) {
    if (!alnum(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> DirectoryLock::Acquire(const fs::path& dir) {
  const fs::path path = dir / ".lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "opening", path);
  struct flock lock = ExclusiveLock();
  // With flock, too: what an Atelier before this one holds.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || ::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    ::close(fd);
    return absl::FailedPreconditionError(absl::StrCat("another process is using ",
                                                      dir.filename().string(),
                                                      "; wait for it or choose another folder"));
  }
  return std::unique_ptr<DirectoryLock>(new DirectoryLock(fd));
}

bool DirectoryLock::Held(const fs::path& dir) {
  const int fd = ::open((dir / ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct flock lock = ExclusiveLock();
  const bool held = ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  ::close(fd);
  return held;
}

DirectoryLock::~DirectoryLock() { ::close(fd_); }

fs::path AtelierHome() {
  const char* home = std::getenv("ATELIER_HOME");
  return home != nullptr && *home != '\0' ? fs::path(home) : HomeOr(".local/share/atelier");
}

fs::path WeightsCache() {
  const char* home = std::getenv("ATELIER_HOME");
  return home != nullptr && *home != '\0' ? fs::path(home) / "weights"
                                          : HomeOr(".cache/atelier/weights");
}

}  // namespace atelier
