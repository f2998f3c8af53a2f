#include "services/cli/await_data_service.h"

#include <utility>

#include "services/cli/command.h"
#include "services/coordinator/client.h"

namespace atelier::cli {
namespace {

// A data-service registers again every third of the lease, 5 s by default, and after a lost
// connection 2 s later at most.
constexpr rpc::RetryPolicy kRegistration{30, std::chrono::milliseconds(250),
                                         std::chrono::milliseconds(1'000)};

}  // namespace

absl::Status AwaitDataService(std::shared_ptr<grpc::Channel> coordinator) {
  const auto fleet = coordinator::FleetClient::Create(std::move(coordinator));
  return coordinator::AwaitDataService(*fleet, kRegistration, rpc::RealSleeper(), [] {
    Say("waiting for a data-service to register with the coordinator");
  });
}

}  // namespace atelier::cli
