// Asks all members at once and decides when enough have answered (P4).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ensemble/combine.h"
#include "services/aggregator/deadline_timer.h"
#include "services/aggregator/member.h"

namespace atelier::aggregator {

struct MemberFailure {
  int member = 0;  // index into the members asked
  absl::Status status;
};

// `used` and `answers` go together; both lists in the order of the members.
struct FanOutResult {
  std::vector<int> used;
  std::vector<ensemble::Probabilities> answers;
  std::vector<MemberFailure> failed;
};

struct FanOutRequest {
  std::vector<std::shared_ptr<Member>> members;
  std::vector<PixelsPtr> pictures;  // one per member, of equal count
  int min_members = 1;              // 1..members
  // The last moment; members that are silent then have failed.
  std::chrono::steady_clock::time_point answer_by;
};

// Calls `done` exactly once, on any thread: as soon as every member has answered or failed, or at
// answer_by when at least min_members have answered. Unavailable, naming who failed and why, when
// min_members cannot be reached any more, at answer_by at the latest. A wrong shape or a value that
// is not finite counts as a failure. `on_failure` (may be empty) hears of members that failed even
// when the answer is an error. `on_last` (may be empty) is called once, after the last member's
// answer or failure, perhaps long after `done`: until then members may hold pictures. `timer`
// outlives the call.
void FanOut(FanOutRequest request, DeadlineTimer& timer,
            std::function<void(const Member&, const absl::Status&)> on_failure,
            std::function<void(absl::StatusOr<FanOutResult>)> done,
            std::function<void()> on_last = {});

}  // namespace atelier::aggregator
