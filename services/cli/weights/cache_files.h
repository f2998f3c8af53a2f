// One entry's files in the cache of weights: NAME.safetensors, NAME.json (its note), NAME.lock,
// NAME.fetch/ (work in progress), pins/.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace atelier::cli {

struct CacheFiles {
  CacheFiles(const std::filesystem::path& cache, const std::string& name)
      : weights(cache / (name + ".safetensors")),
        note(cache / (name + ".json")),
        lock(cache / (name + ".lock")),
        work(cache / (name + ".fetch")),
        pins(cache / "pins") {}
  std::filesystem::path weights;
  std::filesystem::path note;
  std::filesystem::path lock;
  std::filesystem::path work;
  std::filesystem::path pins;
};

// Among all processes, for its life.
class FetchLock {
 public:
  // Waits for another holder, after calling `waiting`. PermissionDenied: the folder is not
  // writable. The file stays: unlinking a lock file races.
  static absl::StatusOr<std::unique_ptr<FetchLock>> Wait(const std::filesystem::path& path,
                                                         const std::function<void()>& waiting);
  ~FetchLock();
  FetchLock(const FetchLock&) = delete;
  FetchLock& operator=(const FetchLock&) = delete;

 private:
  explicit FetchLock(int fd) : fd_(fd) {}
  int fd_;
};

// Where a fetch works, under its lock. What a killed one left is cleared away at the beginning, but
// for the downloads it can go on with; at the end they alone stay, and the folder only if there are
// some.
class WorkFolder {
 public:
  static absl::StatusOr<std::unique_ptr<WorkFolder>> Open(const std::filesystem::path& path,
                                                          const std::vector<std::string>& files);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  // The downloads are used up: nothing stays.
  void Finish() { files_.clear(); }

 private:
  WorkFolder(std::filesystem::path path, std::vector<std::string> files)
      : path_(std::move(path)), files_(std::move(files)) {}
  void Clear() const;
  std::filesystem::path path_;
  std::vector<std::string> files_;  // names worth keeping, whole or partial
};

}  // namespace atelier::cli
