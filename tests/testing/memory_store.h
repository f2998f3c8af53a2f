// An ArtifactStore without a disk.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifacts/artifact_store.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::testing {

// Thread-safe.
class MemoryStore final : public artifacts::ArtifactStore {
 public:
  using Bytes = std::shared_ptr<const std::string>;

  class Writer final : public artifacts::ArtifactWriter {
   public:
    Writer(MemoryStore& store, std::string digest, int64_t size)
        : store_(store), digest_(std::move(digest)), size_(size) {}
    absl::Status Append(std::string_view bytes) override {
      if (static_cast<int64_t>(bytes_.size() + bytes.size()) > size_) {
        return absl::InvalidArgumentError(
            absl::StrCat("more than the announced ", size_, " bytes"));
      }
      bytes_.append(bytes);
      return absl::OkStatus();
    }
    absl::Status Commit() override {
      if (static_cast<int64_t>(bytes_.size()) != size_ || Sha256Hex(bytes_) != digest_) {
        return absl::InvalidArgumentError("the bytes sent are not those of the announced digest");
      }
      MutexLock lock(store_.mutex_);
      store_.artifacts_[digest_] = {std::make_shared<const std::string>(std::move(bytes_)),
                                    std::chrono::system_clock::now()};
      return absl::OkStatus();
    }

   private:
    MemoryStore& store_;
    const std::string digest_;
    const int64_t size_;
    std::string bytes_;
  };

  class Reader final : public artifacts::ArtifactReader {
   public:
    Reader(Bytes bytes, int64_t offset)
        : bytes_(std::move(bytes)), at_(static_cast<size_t>(offset)) {}
    int64_t size() const override { return static_cast<int64_t>(bytes_->size()); }
    absl::StatusOr<std::string> Read(size_t max_bytes) override {
      std::string piece = bytes_->substr(at_, max_bytes);
      at_ += piece.size();
      return piece;
    }

   private:
    Bytes bytes_;
    size_t at_;
  };

  absl::StatusOr<std::unique_ptr<artifacts::ArtifactWriter>> Create(const std::string& digest,
                                                                    int64_t size) override {
    ATELIER_RETURN_IF_ERROR(artifacts::CheckAnnounced(digest, size));
    return std::make_unique<Writer>(*this, digest, size);
  }
  absl::StatusOr<std::unique_ptr<artifacts::ArtifactReader>> Open(const std::string& digest,
                                                                  int64_t offset) override {
    ATELIER_RETURN_IF_ERROR(artifacts::CheckDigest(digest));
    if (const std::function<void()> on_open = OnOpen()) on_open();
    MutexLock lock(mutex_);
    if (!open_error_.ok()) return open_error_;
    const auto found = artifacts_.find(digest);
    if (found == artifacts_.end()) return absl::NotFoundError("no artifact " + digest);
    if (offset < 0 || offset > static_cast<int64_t>(found->second.bytes->size())) {
      return absl::InvalidArgumentError("offset is outside the artifact");
    }
    return std::make_unique<Reader>(found->second.bytes, offset);
  }
  absl::StatusOr<int64_t> Size(const std::string& digest) override {
    ATELIER_ASSIGN_OR_RETURN(auto reader, Open(digest, 0));
    return reader->size();
  }
  absl::Status Touch(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(artifacts::CheckDigest(digest));
    MutexLock lock(mutex_);
    const auto found = artifacts_.find(digest);
    if (found == artifacts_.end()) return absl::NotFoundError("no artifact " + digest);
    found->second.stored = std::chrono::system_clock::now();
    return absl::OkStatus();
  }
  absl::Status Delete(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(artifacts::CheckDigest(digest));
    MutexLock lock(mutex_);
    artifacts_.erase(digest);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<artifacts::StoredArtifact>> List() override {
    MutexLock lock(mutex_);
    std::vector<artifacts::StoredArtifact> stored;
    for (const auto& [digest, entry] : artifacts_) {
      stored.push_back({digest, static_cast<int64_t>(entry.bytes->size()), entry.stored});
    }
    return stored;
  }
  absl::StatusOr<int> RemoveUnfinished() override { return 0; }

  // What Open answers from now on, whatever is stored; OK: what it should.
  void FailOpens(absl::Status error) {
    MutexLock lock(mutex_);
    open_error_ = std::move(error);
  }
  // Called by every Open from now on, before it looks; nullptr: nothing is.
  void SetOnOpen(std::function<void()> on_open) {
    MutexLock lock(mutex_);
    on_open_ = std::move(on_open);
  }

 private:
  struct Entry {
    Bytes bytes;
    std::chrono::system_clock::time_point stored;
  };

  std::function<void()> OnOpen() {
    MutexLock lock(mutex_);
    return on_open_;
  }

  Mutex mutex_;
  std::map<std::string, Entry> artifacts_ ABSL_GUARDED_BY(mutex_);
  absl::Status open_error_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::testing
