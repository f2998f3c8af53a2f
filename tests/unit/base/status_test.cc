#include "common/base/status.h"

#include <memory>

#include "tests/testing/status_matchers.h"

namespace atelier {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;

absl::StatusOr<std::unique_ptr<int>> MakeInt(bool ok) {
  if (!ok) return absl::NotFoundError("no int");
  return std::make_unique<int>(5);
}

absl::StatusOr<int> Twice(bool ok) {
  ATELIER_ASSIGN_OR_RETURN(const auto value, MakeInt(ok));
  ATELIER_RETURN_IF_ERROR(MakeInt(ok));
  return 2 * *value;
}

TEST(StatusMacros, PassTheValueOrTheFirstError) {
  EXPECT_THAT(Twice(true), IsOkAndHolds(10));
  EXPECT_THAT(Twice(false), StatusIs(absl::StatusCode::kNotFound, "no int"));
}

TEST(Annotate, PutsTheContextFirstAndKeepsTheCode) {
  EXPECT_THAT(Annotate(absl::OkStatus(), "reading"), IsOk());
  EXPECT_THAT(Annotate(absl::DataLossError("cut"), "reading x"),
              StatusIs(absl::StatusCode::kDataLoss, "reading x: cut"));
}

}  // namespace
}  // namespace atelier
