#include "common/base/process.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace atelier {

std::string HostAndProcess() {
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, "-", ::getpid());
}

}  // namespace atelier
