// Decoded, resized pictures, least recently used first out. Bounded in bytes.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "common/vision/image.h"

namespace atelier::data {

// Thread-safe.
class PictureCache {
 public:
  explicit PictureCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // The picture kept under `key`, else what `load` gives (kept unless it is an error). Two threads
  // that miss at once both load: the result is the same.
  absl::StatusOr<std::shared_ptr<const vision::Image>> Get(
      const std::string& key, const std::function<absl::StatusOr<vision::Image>()>& load);

  struct Stats {
    int64_t bytes = 0;
    int64_t hits = 0;
    int64_t misses = 0;
  };
  Stats stats() const;

 private:
  struct Entry {
    std::shared_ptr<const vision::Image> image;
    std::list<std::string>::iterator use;
  };

  const int64_t max_bytes_;
  mutable Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> uses_ ABSL_GUARDED_BY(mutex_);  // most recent first
  Stats stats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::data
