// Names one task: one member in one stage of one run.
#pragma once

#include <compare>
#include <string>

#include "atelier/v1/fleet_service.pb.h"

namespace atelier::coordinator {

struct TaskKey {
  std::string run_id;
  std::string member;
  std::string stage;
  auto operator<=>(const TaskKey&) const = default;
};

inline TaskKey KeyOf(const v1::Lease& lease) {
  return {lease.run_id(), lease.member(), lease.stage()};
}

inline v1::Lease MakeLease(const TaskKey& key, int64_t epoch) {
  v1::Lease lease;
  lease.set_run_id(key.run_id);
  lease.set_member(key.member);
  lease.set_stage(key.stage);
  lease.set_epoch(epoch);
  return lease;
}

// Positions within a task, in the order they are passed.
inline bool Before(const v1::DataCursor& a, const v1::DataCursor& b) {
  return a.epoch() != b.epoch() ? a.epoch() < b.epoch() : a.step() < b.step();
}

}  // namespace atelier::coordinator
