#include "common/rpc/address.h"

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/rpc/server.h"

namespace atelier::rpc {

std::string_view HostOf(std::string_view address) {
  const size_t scheme = address.find("://");
  if (scheme != std::string_view::npos) address.remove_prefix(scheme + 3);
  if (address.starts_with('[')) {
    const size_t bracket = address.find(']');
    return bracket == std::string_view::npos ? address : address.substr(0, bracket + 1);
  }
  const size_t colon = address.find(':');
  // More than one, and no brackets: an IPv6 address alone.
  return colon == address.rfind(':') ? address.substr(0, colon) : address;
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "[::1]") return true;
  // Digits: "127.example.org" is anybody's.
  return host.starts_with("127.") &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::string LoopbackWarning(std::string_view listen, std::string_view coordinator,
                            std::string_view advertise) {
  if (!advertise.empty() || !IsLoopback(HostOf(listen)) || IsLoopback(HostOf(coordinator)))
    return "";
  return absl::StrCat("listens on ", std::string(listen), ", which only this machine reaches, and ",
                      "the coordinator is ", std::string(coordinator),
                      ": add --listen 0.0.0.0:PORT, with certificates or --insecure, or say with ",
                      "--advertise HOST:PORT how others reach it");
}

std::string AddressToRegister(const ServerOptions& server, int port, std::string_view coordinator,
                              std::string_view advertise) {
  const std::string warning =
      server.in_process_only ? "" : LoopbackWarning(server.listen, coordinator, advertise);
  if (!warning.empty()) LogWarning("%s", warning);
  return advertise.empty() ? absl::StrCat(":", port) : std::string(advertise);
}

}  // namespace atelier::rpc
