#include "services/data/picture_cache.h"

#include <utility>

#include "common/base/status.h"

namespace atelier::data {
namespace {

int64_t BytesOf(const vision::Image& image) { return static_cast<int64_t>(image.pixels.size()); }

}  // namespace

absl::StatusOr<std::shared_ptr<const vision::Image>> PictureCache::Get(
    const std::string& key, const std::function<absl::StatusOr<vision::Image>()>& load) {
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
      ++stats_.hits;
      uses_.splice(uses_.begin(), uses_, found->second.use);
      return found->second.image;
    }
    ++stats_.misses;
  }
  ATELIER_ASSIGN_OR_RETURN(vision::Image loaded, load());
  auto image = std::make_shared<const vision::Image>(std::move(loaded));
  if (BytesOf(*image) > max_bytes_) return image;
  MutexLock lock(mutex_);
  std::list<std::string> use{key};  // of its own until the entry is complete: memory may end
  const auto [entry, added] = entries_.try_emplace(key, Entry{image, use.begin()});
  if (!added) return entry->second.image;
  uses_.splice(uses_.begin(), use);
  stats_.bytes += BytesOf(*image);
  while (stats_.bytes > max_bytes_) {
    const auto oldest = entries_.find(uses_.back());
    stats_.bytes -= BytesOf(*oldest->second.image);
    entries_.erase(oldest);
    uses_.pop_back();
  }
  return image;
}

PictureCache::Stats PictureCache::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

}  // namespace atelier::data
