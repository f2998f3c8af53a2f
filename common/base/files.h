// Files that are never seen half-written: temp, fsync, rename, fsync of the directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier {

// What the system answered to an action on a file, as "<doing> <file name>: <text of errno>".
// NotFound: ENOENT, ENOTDIR. ResourceExhausted: no space, no quota, too large, no descriptor, no
// memory. PermissionDenied: no right to, or a read-only file system. InvalidArgument: the name is
// taken, is a folder or is too long. Unavailable: all others.
absl::Status ErrnoStatus(int error, std::string_view doing, const std::filesystem::path& path);

// Whole file; ResourceExhausted when larger than `max_bytes`, NotFound when absent.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                     uint64_t max_bytes = uint64_t{1} << 32);

// Replaces `path` atomically; a reader sees the old bytes or the new ones. ENOSPC and EDQUOT become
// ResourceExhausted. Makes no parent directory.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes);

// Streaming form of WriteFileAtomically. Without Commit() nothing appears at `path` and the
// temporary file is removed. After a failed write or fsync the writer is dead: Commit() fails and
// the same file is never fsynced again (its pages may be lost: fsyncgate). Not thread-safe.
class AtomicFileWriter {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFileWriter>> Create(
      const std::filesystem::path& path);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  absl::Status Append(std::string_view bytes);
  // Makes the bytes durable, so that Commit() has only their name left to do. Nothing can be
  // appended any more.
  absl::Status Sync();
  absl::Status Commit();
  // As Commit(), but to another name in the same file system (content-addressed stores).
  absl::Status CommitAs(const std::filesystem::path& path);

 private:
  AtomicFileWriter(std::filesystem::path target, std::filesystem::path temp, int fd);
  std::filesystem::path target_;
  std::filesystem::path temp_;  // empty once it has its name
  int fd_;                      // -1: synced
  absl::Status status_;
};

// mkdir -p; OK when it is there already. The names of the folders it makes are durable: the parent
// of each is fsynced. One whose parent cannot be fsynced is removed again. NotFound when a file is
// in the way. Thread-safe, but a folder that another call is just making counts as there.
absl::Status MakeDirectories(const std::filesystem::path& path);

// fsync of a folder: the names in it are durable.
absl::Status SyncDirectory(const std::filesystem::path& dir);

// ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ : the only names that become file names.
bool IsSafeName(std::string_view name);

// An exclusive lock held for the object's life. FailedPrecondition when another process holds it.
class DirectoryLock {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryLock>> Acquire(const std::filesystem::path& dir);
  // Whether somebody holds it; disturbs no Acquire. False where it cannot be told.
  static bool Held(const std::filesystem::path& dir);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

// ${ATELIER_HOME}, else ~/.local/share/atelier (index of runs and ensembles).
std::filesystem::path AtelierHome();
// ${ATELIER_HOME}/weights, else ~/.cache/atelier/weights.
std::filesystem::path WeightsCache();

}  // namespace atelier
