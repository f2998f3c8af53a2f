// The trainers there are now, with a connection to each that was asked for.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "atelier/v1/fleet_service.pb.h"
#include "common/concurrency/mutex.h"
#include "services/trainer/client.h"

namespace atelier::aggregator {

struct TrainerDirectoryOptions {
  std::chrono::milliseconds poll{1'000};
  // An address that was silent is asked last for so long.
  std::chrono::milliseconds suspicion{10'000};
  // Connections to trainers that left the list are kept for answers still under way.
  std::chrono::milliseconds linger{60'000};
};

// Thread-safe. While the coordinator does not answer, the last list stays in force.
class TrainerDirectory {
 public:
  using ListFleet = std::function<absl::StatusOr<v1::ListFleetResponse>()>;
  using Connect =
      std::function<std::shared_ptr<trainer::PredictClient>(const std::string& address)>;

  TrainerDirectory(ListFleet list, Connect connect, const TrainerDirectoryOptions& options = {});
  // Waits for the clients lent, fails what is in flight with Cancelled and returns once none of the
  // callbacks runs any more.
  ~TrainerDirectory();
  TrainerDirectory(const TrainerDirectory&) = delete;
  TrainerDirectory& operator=(const TrainerDirectory&) = delete;

  struct Choice {
    std::vector<std::string> addresses;  // see ChooseTrainers
    size_t suspects = 0;                 // so many at the end were silent lately
  };
  // Waits for nothing; before the first list arrived there is nobody.
  Choice Candidates(const std::string& backbone, const std::string& weights_digest);
  // Null once the destructor has begun. Lent for the call: the destructor waits until it is back,
  // and the client itself is never destroyed by the borrower, who may be its own callback.
  std::shared_ptr<trainer::PredictClient> Client(const std::string& address);
  void ReportSilence(const std::string& address);
  void ReportAnswer(const std::string& address);
  // Blocks until the coordinator was asked once (with or without success).
  bool WaitAsked(std::chrono::steady_clock::time_point deadline);

 private:
  struct Connection {
    std::shared_ptr<trainer::PredictClient> client;
    std::chrono::steady_clock::time_point last_listed;
  };
  void Poll();
  void TakeBack(std::shared_ptr<trainer::PredictClient> client);
  void TakeList(v1::ListFleetResponse fleet);

  const ListFleet list_;
  const Connect connect_;
  const TrainerDirectoryOptions options_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  v1::ListFleetResponse fleet_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Connection> connections_ ABSL_GUARDED_BY(mutex_);
  int lent_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::chrono::steady_clock::time_point> suspects_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the others
};

}  // namespace atelier::aggregator
