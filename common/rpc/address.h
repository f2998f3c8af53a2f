// The host of HOST:PORT.
#pragma once

#include <string_view>

namespace atelier::rpc {

// "[::1]:7070" -> "[::1]", "https://localhost:7070" -> "localhost"; without a port all of it.
std::string_view HostOf(std::string_view address);

// Whether only this machine reaches the host.
bool IsLoopback(std::string_view host);

}  // namespace atelier::rpc
