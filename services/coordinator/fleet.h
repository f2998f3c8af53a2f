// Who is connected: trainers and data-services. In memory only; guarded by the RunExecutor's lock.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "atelier/v1/fleet_service.pb.h"
#include "services/coordinator/policy.h"
#include "services/coordinator/task_key.h"

namespace atelier::coordinator {

// Hands a message to a trainer's stream. Called with locks held: must not block or call back.
using SendToTrainer = std::function<void(const v1::CoordinatorMessage&)>;

struct ConnectedTrainer {
  v1::TrainerHello hello;
  SendToTrainer send;
  int64_t session = 0;  // of the stream that speaks for it now
  bool draining = false;
  SteadyTime last_heard{};
};

struct HeldLease {
  std::string trainer;
  int64_t epoch = 0;
  SteadyTime deadline{};
};

// Not thread-safe.
class Fleet {
 public:
  explicit Fleet(std::chrono::milliseconds data_service_ttl) : data_ttl_(data_service_ttl) {}

  std::map<std::string, ConnectedTrainer>& trainers() { return trainers_; }
  std::map<TaskKey, HeldLease>& leases() { return leases_; }
  const std::map<TaskKey, HeldLease>& leases() const { return leases_; }

  // The task a trainer holds a lease of, if any.
  std::optional<TaskKey> TaskOf(const std::string& trainer) const;
  // Pushes the deadline of `lease` out if it is the current one.
  bool Renew(const v1::Lease& lease, SteadyTime deadline);

  void RegisterData(const v1::RegisterDataServiceRequest& request, SteadyTime now);
  // Forgets those whose registration ran out.
  std::vector<std::string> DataAddresses(SteadyTime now);
  SteadyTime NextDataExpiry() const;

  // `silent_after`: how long a trainer may say nothing before it gets no task.
  std::vector<TrainerView> TrainerViews(SteadyTime now,
                                        std::chrono::milliseconds silent_after) const;
  v1::ListFleetResponse List(SteadyTime now);

 private:
  struct DataService {
    std::string address;
    SteadyTime deadline{};
  };

  const std::chrono::milliseconds data_ttl_;
  std::map<std::string, ConnectedTrainer> trainers_;
  std::map<TaskKey, HeldLease> leases_;
  std::map<std::string, DataService> data_;
};

}  // namespace atelier::coordinator
