// Passes a verb on to atelier-convert.
#pragma once

#include <string>
#include <vector>

namespace atelier::cli {

// Prints what it prints; the process's exit code (1 when it was ended by a signal).
int RunConverterVerb(std::vector<std::string> arguments);

}  // namespace atelier::cli
