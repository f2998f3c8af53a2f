#include "services/cli/convert/limits.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {
namespace {

absl::Status Limit(__rlimit_resource resource, const char* name, uint64_t value) {
  struct rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) {
    return absl::UnavailableError(absl::StrCat("getrlimit ", name, ": ", std::strerror(errno)));
  }
  if (limit.rlim_max != RLIM_INFINITY && value > limit.rlim_max) value = limit.rlim_max;
  limit.rlim_cur = value;
  limit.rlim_max = value;
  if (::setrlimit(resource, &limit) != 0) {
    return absl::UnavailableError(absl::StrCat("setrlimit ", name, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LimitOwnResources([[maybe_unused]] uint64_t input_bytes) {
  absl::Status status = Limit(RLIMIT_CORE, "core", 0);
  status.Update(Limit(RLIMIT_CPU, "cpu", 600));
  status.Update(Limit(RLIMIT_FSIZE, "fsize", kMaxFileBytes + (uint64_t{16} << 20)));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
  status.Update(Limit(RLIMIT_AS, "as", 4 * input_bytes + (uint64_t{768} << 20)));
#endif
  return status;
}

}  // namespace atelier::convert
