#include "services/coordinator/fleet.h"

#include <algorithm>

namespace atelier::coordinator {

std::optional<TaskKey> Fleet::TaskOf(const std::string& trainer) const {
  for (const auto& [key, lease] : leases_) {
    if (lease.trainer == trainer) return key;
  }
  return std::nullopt;
}

bool Fleet::Renew(const v1::Lease& lease, SteadyTime deadline) {
  const auto found = leases_.find(KeyOf(lease));
  if (found == leases_.end() || found->second.epoch != lease.epoch()) return false;
  found->second.deadline = deadline;
  return true;
}

void Fleet::RegisterData(const v1::RegisterDataServiceRequest& request, SteadyTime now) {
  if (request.leaving()) {
    data_.erase(request.id());
  } else {
    data_[request.id()] = {request.address(), now + data_ttl_};
  }
}

std::vector<std::string> Fleet::DataAddresses(SteadyTime now) {
  std::erase_if(data_, [now](const auto& entry) { return entry.second.deadline <= now; });
  std::vector<std::string> addresses;
  for (const auto& [id, service] : data_) addresses.push_back(service.address);
  return addresses;
}

SteadyTime Fleet::NextDataExpiry() const {
  SteadyTime next = SteadyTime::max();
  for (const auto& [id, service] : data_) next = std::min(next, service.deadline);
  return next;
}

std::vector<TrainerView> Fleet::TrainerViews(SteadyTime now,
                                             std::chrono::milliseconds silent_after) const {
  std::vector<TrainerView> views;
  for (const auto& [id, trainer] : trainers_) {
    TrainerView& view = views.emplace_back();
    view.id = id;
    view.backbones.assign(trainer.hello.backbones().begin(), trainer.hello.backbones().end());
    view.draining = trainer.draining;
    view.busy = TaskOf(id).has_value();
    view.silent = now - trainer.last_heard >= silent_after;
  }
  return views;
}

v1::ListFleetResponse Fleet::List(SteadyTime now) {
  v1::ListFleetResponse response;
  for (const auto& [id, trainer] : trainers_) {
    v1::FleetTrainer& listed = *response.add_trainers();
    listed.set_trainer_id(id);
    *listed.mutable_device() = trainer.hello.device();
    *listed.mutable_backbones() = trainer.hello.backbones();
    listed.set_predict_address(trainer.hello.predict_address());
    listed.set_draining(trainer.draining);
    if (const auto key = TaskOf(id)) {
      *listed.mutable_current() = MakeLease(*key, leases_.at(*key).epoch);
    }
  }
  DataAddresses(now);
  for (const auto& [id, service] : data_) {
    v1::FleetDataService& listed = *response.add_data_services();
    listed.set_id(id);
    listed.set_address(service.address);
  }
  return response;
}

}  // namespace atelier::coordinator
