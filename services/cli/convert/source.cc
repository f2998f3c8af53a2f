#include "services/cli/convert/source.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace atelier::convert {

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<int64_t> CheckedElements(const std::vector<int64_t>& shape) {
  if (shape.size() > kMaxRank) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor of rank ", shape.size(), "; at most ", kMaxRank, " is read"));
  }
  int64_t elements = 1;
  for (const int64_t n : shape) {
    if (n < 0 || __builtin_mul_overflow(elements, n, &elements) ||
        elements > static_cast<int64_t>(kMaxFileBytes)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the shape ", ShapeText(shape), " is no possible size of a tensor"));
    }
  }
  return elements;
}

}  // namespace atelier::convert
