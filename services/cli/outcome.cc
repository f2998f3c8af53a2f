#include "services/cli/outcome.h"

#include <cstdio>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace atelier::cli {
namespace {

constexpr char kWrongUsageMark[] = "atelier/wrong-usage";

int SayError(const absl::Status& status, int code) {
  Say(absl::StrCat("error: ", std::string(status.message())));
  return code;
}

}  // namespace

void Say(std::string_view text) {
  const std::string line = absl::StrCat("atelier: ", std::string(text), "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int Fail(const absl::Status& status) { return SayError(status, kFailed); }

int Misuse(const absl::Status& status) { return SayError(status, kWrongUsage); }

absl::Status WrongUsage(absl::Status status) {
  if (!status.ok()) status.SetPayload(kWrongUsageMark, absl::Cord());
  return status;
}

int ExitCode(const absl::Status& status) {
  if (status.ok()) return kDone;
  return status.GetPayload(kWrongUsageMark).has_value() ? Misuse(status) : Fail(status);
}

}  // namespace atelier::cli
