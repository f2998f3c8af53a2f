// The host of HOST:PORT.
#pragma once

#include <string>
#include <string_view>

namespace atelier::rpc {

struct ServerOptions;

// "[::1]:7070" -> "[::1]", "https://localhost:7070" -> "localhost"; without a port all of it.
std::string_view HostOf(std::string_view address);

// Whether only this machine reaches the host.
bool IsLoopback(std::string_view host);

// What to say of a service that listens on loopback, advertises nothing and registers with a
// coordinator that is elsewhere: nobody there reaches it. Empty when there is nothing to say.
std::string LoopbackWarning(std::string_view listen, std::string_view coordinator,
                            std::string_view advertise);

// What the service that serves on `port` registers at the coordinator: `advertise`, or ":PORT" of
// whatever host the coordinator sees it come from. Logs LoopbackWarning.
std::string AddressToRegister(const ServerOptions& server, int port, std::string_view coordinator,
                              std::string_view advertise);

}  // namespace atelier::rpc
