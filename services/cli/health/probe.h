// The question of health checks: `atelier health`, and the small binary atelier-health.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace atelier::cli {

// Whether the service at `address` (HOST:PORT; https:// is TLS) serves, asked over a connection of
// its own with the identity of ATELIER_TLS_*. Unavailable: no answer in five seconds; the message
// names the address.
absl::StatusOr<bool> ProbeHealth(const std::string& address);

// The line for standard output: "ADDRESS SERVING" or "ADDRESS NOT_SERVING", and a line's end.
std::string HealthLine(const std::string& address, bool serving);

}  // namespace atelier::cli
