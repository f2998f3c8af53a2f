// Wakes those who wait for news of a topic (a run's events, promotions). The news itself is read
// from the store, so a slow reader costs no memory here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/concurrency/mutex.h"

namespace atelier::coordinator {

// Thread-safe.
class Notifier : public std::enable_shared_from_this<Notifier> {
 public:
  // Ends the subscription when destroyed: `wake` does not run then and is not called afterwards.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };

  // `wake` must be quick and must not call back into the notifier.
  std::unique_ptr<Subscription> Subscribe(const std::string& topic, std::function<void()> wake);
  void Notify(const std::string& topic);
  // Wakes everyone for the last time: the process drains, and whoever waits should come back later.
  void Close();
  bool closed();

 private:
  class Entry;
  Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<std::string, std::map<int64_t, std::function<void()>>> wakes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::coordinator
