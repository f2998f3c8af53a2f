#include "services/cli/inexact_text.h"

#include "absl/strings/str_cat.h"

namespace atelier::cli {

std::string InexactText(const v1::Run& run) {
  std::string text;
  for (const v1::Task& task : run.tasks()) {
    if (task.result().resumed_inexact().empty()) continue;
    absl::StrAppend(&text, "RESUMED_INEXACT: ", task.member(), " ", task.stage(), " (",
                    task.result().resumed_inexact(),
                    " differed): its numbers, and those of its member's later stages, may differ "
                    "slightly from an undisturbed run's\n");
  }
  return text;
}

}  // namespace atelier::cli
