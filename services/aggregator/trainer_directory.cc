#include "services/aggregator/trainer_directory.h"

#include <utility>

#include "common/base/logging.h"
#include "services/aggregator/trainer_choice.h"

namespace atelier::aggregator {

using SteadyClock = std::chrono::steady_clock;

TrainerDirectory::TrainerDirectory(ListFleet list, Connect connect,
                                   const TrainerDirectoryOptions& options)
    : list_(std::move(list)),
      connect_(std::move(connect)),
      options_(options),
      thread_([this] { Poll(); }) {}

TrainerDirectory::~TrainerDirectory() {
  std::map<std::string, Connection> connections;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    connections.swap(connections_);
    changed_.NotifyAll();
  }
  thread_.join();
  {
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return lent_ == 0; });
  }
  // Their callbacks may still come to this object; it is whole until `connections` is gone.
  connections.clear();
}

TrainerDirectory::Choice TrainerDirectory::Candidates(const std::string& backbone,
                                                      const std::string& weights_digest) {
  MutexLock lock(mutex_);
  std::set<std::string> suspects;
  const auto now = SteadyClock::now();
  for (const auto& [address, until] : suspects_) {
    if (now < until) suspects.insert(address);
  }
  Choice choice;
  choice.addresses = ChooseTrainers(fleet_, backbone, weights_digest, suspects);
  for (const std::string& address : choice.addresses) choice.suspects += suspects.count(address);
  return choice;
}

std::shared_ptr<trainer::PredictClient> TrainerDirectory::Client(const std::string& address) {
  MutexLock lock(mutex_);
  if (stopping_) return nullptr;
  Connection& connection = connections_[address];
  if (connection.client == nullptr) {
    connection.client = connect_(address);
    connection.last_listed = SteadyClock::now();
  }
  ++lent_;
  // Never the last reference: TakeList keeps what is lent, and the destructor waits for it.
  return {connection.client.get(),
          [this, client = connection.client](trainer::PredictClient*) mutable {
            TakeBack(std::move(client));
          }};
}

void TrainerDirectory::TakeBack(std::shared_ptr<trainer::PredictClient> client) {
  MutexLock lock(mutex_);
  client.reset();
  if (--lent_ == 0 && stopping_) changed_.NotifyAll();
}

void TrainerDirectory::ReportSilence(const std::string& address) {
  MutexLock lock(mutex_);
  suspects_[address] = SteadyClock::now() + options_.suspicion;
}

void TrainerDirectory::ReportAnswer(const std::string& address) {
  MutexLock lock(mutex_);
  suspects_.erase(address);
}

bool TrainerDirectory::WaitAsked(SteadyClock::time_point deadline) {
  MutexLock lock(mutex_);
  return changed_.WaitUntil(mutex_, deadline,
                            [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return asked_ || stopping_; });
}

void TrainerDirectory::Poll() {
  bool failing = false;
  while (true) {
    absl::StatusOr<v1::ListFleetResponse> fleet = list_();
    if (fleet.ok()) {
      TakeList(*std::move(fleet));
      failing = false;
    } else if (!std::exchange(failing, true)) {
      LogWarning("the coordinator does not list trainers (%s); the last list stays in force",
                 fleet.status().ToString());
    }
    MutexLock lock(mutex_);
    asked_ = true;
    changed_.NotifyAll();
    if (changed_.WaitFor(mutex_, options_.poll,
                         [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; })) {
      return;
    }
  }
}

void TrainerDirectory::TakeList(v1::ListFleetResponse fleet) {
  std::vector<std::shared_ptr<trainer::PredictClient>> dropped;  // destroyed without the lock
  MutexLock lock(mutex_);
  const auto now = SteadyClock::now();
  for (const v1::FleetTrainer& trainer : fleet.trainers()) {
    const auto found = connections_.find(trainer.predict_address());
    if (found != connections_.end()) found->second.last_listed = now;
  }
  for (auto it = connections_.begin(); it != connections_.end();) {
    const bool lent = it->second.client.use_count() > 1;  // next time, then
    if (!lent && now - it->second.last_listed > options_.linger) {
      dropped.push_back(std::move(it->second.client));
      suspects_.erase(it->first);
      it = connections_.erase(it);
    } else {
      ++it;
    }
  }
  fleet_ = std::move(fleet);
}

}  // namespace atelier::aggregator
