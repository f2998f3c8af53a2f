// atelier-health HOST:PORT: `atelier health` for container health checks, in a binary that loads in
// a hundredth of the time.
#include <cstdio>
#include <exception>
#include <string>

#include "common/base/logging.h"
#include "common/rpc/tls.h"
#include "services/cli/health/probe.h"

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "atelier-health: error: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Run(const std::string& address) {
  const absl::Status tls = atelier::rpc::TlsIdentityFromEnvironment().status();
  if (!tls.ok()) return Fail(tls);
  const absl::StatusOr<bool> serving = atelier::cli::ProbeHealth(address);
  if (!serving.ok()) return Fail(serving.status());
  std::fputs(atelier::cli::HealthLine(address, *serving).c_str(), stdout);
  return *serving ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc == 2 ? argv[1] : "";
  if (address.empty() || address[0] == '-') {
    std::fputs(
        "Usage: atelier-health HOST:PORT\n"
        "Asks one of the four services whether it serves: exit code 0 when it does, 1 when not, 2\n"
        "when called wrongly. https:// before HOST is TLS; ATELIER_TLS_CERT, _KEY and _CA are "
        "mutual\n"
        "TLS, as for the other binaries.\n",
        address == "--help" ? stdout : stderr);
    return address == "--help" ? 0 : 2;
  }
  atelier::SetLogName("atelier-health");
  atelier::SetLogLevel(atelier::LogLevel::kWarning);
  try {
    return Run(address);
  } catch (const std::exception& e) {
    return Fail(absl::InternalError(e.what()));
  }
}
