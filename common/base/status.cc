#include "common/base/status.h"

#include "absl/strings/str_cat.h"

namespace atelier {

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  const absl::string_view prefix(context.data(), context.size());
  return absl::Status(status.code(), absl::StrCat(prefix, ": ", status.message()));
}

}  // namespace atelier
