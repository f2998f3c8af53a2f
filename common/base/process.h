// Who this process is among others.
#pragma once

#include <string>

namespace atelier {

// "HOST-PID": a default name for a service, unique while it runs.
std::string HostAndProcess();

}  // namespace atelier
