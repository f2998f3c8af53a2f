#include "services/cli/weights/helper_process.h"

#include <gtest/gtest.h>

#include "tests/testing/status_matchers.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::StatusIs;

TEST(RunProcess, GivesOutputsAndExitCode) {
  ASSERT_OK_AND_ASSIGN(const ProcessResult result,
                       RunProcess({"sh", "-c", "echo out; echo err >&2; exit 3"}));
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(result.exit_code, 3);
  ASSERT_OK_AND_ASSIGN(const ProcessResult killed, RunProcess({"sh", "-c", "kill -9 $$"}));
  EXPECT_EQ(killed.exit_code, 137);
  EXPECT_THAT(RunProcess({"no-such-program-here"}), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace atelier::cli
