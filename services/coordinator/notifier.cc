#include "services/coordinator/notifier.h"

#include <utility>

namespace atelier::coordinator {

class Notifier::Entry final : public Notifier::Subscription {
 public:
  Entry(std::shared_ptr<Notifier> notifier, std::string topic, int64_t id)
      : notifier_(std::move(notifier)), topic_(std::move(topic)), id_(id) {}
  ~Entry() override {
    MutexLock lock(notifier_->mutex_);
    const auto found = notifier_->wakes_.find(topic_);
    if (found == notifier_->wakes_.end()) return;
    found->second.erase(id_);
    if (found->second.empty()) notifier_->wakes_.erase(found);
  }

 private:
  const std::shared_ptr<Notifier> notifier_;
  const std::string topic_;
  const int64_t id_;
};

std::unique_ptr<Notifier::Subscription> Notifier::Subscribe(const std::string& topic,
                                                            std::function<void()> wake) {
  MutexLock lock(mutex_);
  const int64_t id = next_id_++;
  wakes_[topic][id] = std::move(wake);
  return std::make_unique<Entry>(shared_from_this(), topic, id);
}

void Notifier::Notify(const std::string& topic) {
  // Called under the lock: a subscription that ends waits until no wake of it runs.
  MutexLock lock(mutex_);
  const auto found = wakes_.find(topic);
  if (found == wakes_.end()) return;
  for (const auto& [id, wake] : found->second) wake();
}

bool Notifier::closed() {
  MutexLock lock(mutex_);
  return closed_;
}

void Notifier::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (const auto& [topic, wakes] : wakes_) {
    for (const auto& [id, wake] : wakes) wake();
  }
}

}  // namespace atelier::coordinator
