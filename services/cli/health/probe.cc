#include "services/cli/health/probe.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/rpc/address.h"
#include "common/rpc/health.h"

namespace atelier::cli {
namespace {

constexpr std::chrono::seconds kDeadline{5};

}  // namespace

absl::StatusOr<bool> ProbeHealth(const std::string& address) {
  if (address.ends_with(rpc::HostOf(address))) {
    return absl::InvalidArgumentError(absl::StrCat(address, ": HOST:PORT is expected"));
  }
  absl::StatusOr<bool> serving = rpc::AskHealth(address, kDeadline);
  if (serving.ok()) return serving;
  return absl::UnavailableError(
      absl::StrCat(address, ": ", std::string(serving.status().message())));
}

std::string HealthLine(const std::string& address, bool serving) {
  return absl::StrCat(address, serving ? " SERVING\n" : " NOT_SERVING\n");
}

}  // namespace atelier::cli
