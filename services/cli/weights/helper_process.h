// Starts a helper program (pip, atelier-convert) without a shell.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::cli {

struct ProcessResult {
  int exit_code = 0;  // 128 + signal when it was killed
  std::string out;
  std::string err;
};

// argv[0] is looked up in PATH unless it contains '/'. Standard input is empty. Both outputs are
// kept up to 16 MiB each; `tick` runs about twice a second while the program does. NotFound: no
// such program.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         const std::function<void()>& tick = {});

// Path of a program that lies beside this one. FailedPrecondition when it is not there.
absl::StatusOr<std::filesystem::path> SiblingProgram(const std::string& name);

}  // namespace atelier::cli
