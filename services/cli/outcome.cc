#include "services/cli/outcome.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace atelier::cli {
namespace {

constexpr char kWrongUsageMark[] = "atelier/wrong-usage";

// gRPC says what its sockets saw, not what to do about it.
std::string_view TlsHint(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return "";
  if (absl::StrContains(status.message(), "WRONG_VERSION_NUMBER") ||
      absl::StrContains(status.message(), "wrong version number")) {
    return "\n  it speaks plain text: unset ATELIER_TLS_CERT, _KEY and _CA, or give the services "
           "certificates";
  }
  const bool dropped = absl::StrContains(status.message(), "Socket closed") ||
                       absl::StrContains(status.message(), "Connection reset");
  if (dropped && std::getenv("ATELIER_TLS_CERT") == nullptr) {
    return "\n  if it speaks TLS, set ATELIER_TLS_CERT, ATELIER_TLS_KEY and ATELIER_TLS_CA";
  }
  return "";
}

int SayError(const absl::Status& status, int code) {
  Say(absl::StrCat("error: ", std::string(status.message()), std::string(TlsHint(status))));
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
