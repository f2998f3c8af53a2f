#include "services/cli/inexact_text.h"

#include <gmock/gmock.h>

#include "services/cli/run_json.h"
#include "tests/unit/cli/sample_run.h"

namespace atelier::cli {
namespace {

using ::testing::HasSubstr;

TEST(InexactTextTest, NamesEachTaskAndWhatDiffered) {
  v1::Run run = SampleRun();
  EXPECT_EQ(InexactText(run), "");
  run.mutable_tasks(1)->mutable_result()->set_resumed_inexact("isa, build");
  EXPECT_THAT(InexactText(run), HasSubstr("RESUMED_INEXACT: lite train (isa, build differed)"));
  EXPECT_EQ(RunToJson(run).at("tasks").at(1).at("resumed_inexact"), "isa, build");
}

}  // namespace
}  // namespace atelier::cli
