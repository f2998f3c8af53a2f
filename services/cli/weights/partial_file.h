// A download's bytes so far, beside what the server said about them: X.partial, X.partial.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::cli {

// What a later process needs to go on.
struct PartialNote {
  std::string url;        // whose answer the bytes are
  std::string validator;  // strong ETag, else Last-Modified, as sent; empty: the server gave none
};

// One at a time for a target, and by one process: the caller holds a lock. Not thread-safe.
class PartialFile {
 public:
  // What an earlier process left is gone on with; a note that cannot be read counts as none.
  static absl::StatusOr<std::unique_ptr<PartialFile>> Open(const std::filesystem::path& target);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t size() const { return size_; }
  const PartialNote& note() const { return note_; }

  // Forgets the bytes and notes whose answer the next ones are. Written at once, so that a process
  // killed in the middle leaves a pair that belongs together.
  absl::Status Restart(PartialNote note);
  // ResourceExhausted: disk full.
  absl::Status Append(std::string_view bytes);
  // fsync, rename to the target, note removed.
  absl::Status Commit();

 private:
  PartialFile(std::filesystem::path target, int fd);
  std::filesystem::path target_;
  std::filesystem::path path_;
  std::filesystem::path note_path_;
  int fd_;
  uint64_t size_ = 0;
  PartialNote note_;
};

}  // namespace atelier::cli
