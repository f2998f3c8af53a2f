// Keeps a data-service registered with the coordinator: again before each registration runs out,
// and a good-bye at the end.
#pragma once

#include <memory>
#include <string>

#include "common/rpc/channel.h"

namespace atelier::data {

// Thread-safe. The destructor ends a call under way, says good-bye (best effort) and joins: a
// second at most.
class Registration {
 public:
  // `address`: host:port that others reach this service at; ":port" leaves the host to the
  // coordinator.
  static std::unique_ptr<Registration> Start(std::shared_ptr<grpc::Channel> coordinator,
                                             std::string id, std::string address);
  virtual ~Registration() = default;
};

}  // namespace atelier::data
