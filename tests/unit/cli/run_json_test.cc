#include "services/cli/run_json.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/unit/cli/sample_run.h"

namespace atelier::cli {
namespace {

TEST(RunJsonTest, TasksHaveTheContractsFields) {
  const Json json = RunToJson(SampleRun());
  const Json& task = json.at("tasks").at(0);
  EXPECT_EQ(task.at("member"), "xception");
  EXPECT_EQ(task.at("stage"), "train");
  EXPECT_EQ(task.at("state"), "done");
  const Json& attempt = task.at("attempts").at(0);
  EXPECT_EQ(attempt.at("trainer"), "t-1");
  EXPECT_EQ(attempt.at("start_epoch"), 0);
  EXPECT_EQ(attempt.at("start_step"), 0);
  EXPECT_EQ(attempt.at("end_epoch"), 2);
  EXPECT_EQ(attempt.at("end_step"), 0);
  EXPECT_EQ(attempt.at("end"), "done");
}

TEST(MetricsJsonTest, IsTheEvaluationContract) {
  const v1::Run run = SampleRun();
  const Json json = MetricsToJson(run.metrics(), {"a", "b"});
  EXPECT_EQ(json.at("classes"), Json({"a", "b"}));
  EXPECT_EQ(json.at("images"), 12);
  EXPECT_DOUBLE_EQ(json.at("ensemble").at("accuracy").get<double>(), 10.0 / 12);
  EXPECT_DOUBLE_EQ(json.at("ensemble").at("log_loss").get<double>(), 0.4);
  EXPECT_EQ(json.at("ensemble").at("confusion"), Json::parse("[[5,1],[1,5]]"));
  EXPECT_DOUBLE_EQ(json.at("members").at("lite").at("accuracy").get<double>(), 0.75);
  EXPECT_DOUBLE_EQ(json.at("members").at("lite").at("log_loss").get<double>(), 0.5);
}

TEST(MetricsJsonTest, AMatrixThatWasLeftOutIsEmpty) {
  v1::Run run = SampleRun();
  EXPECT_TRUE(HasConfusion(run.metrics(), 2));
  EXPECT_FALSE(HasConfusion(run.metrics(), 3));
  run.mutable_metrics()->clear_confusion();
  EXPECT_FALSE(HasConfusion(run.metrics(), 2));
  EXPECT_FALSE(HasConfusion(run.metrics(), 65'536)) << "whose square is 0 in 32 bits";
  EXPECT_EQ(MetricsToJson(run.metrics(), {"a", "b"}).at("ensemble").at("confusion"), Json::array());
}

TEST(RunJsonTest, NotANumberBecomesNull) {
  v1::Run run = SampleRun();
  run.mutable_tasks(0)->mutable_result()->mutable_history(0)->set_val_loss(
      std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(RunToJson(run).at("tasks").at(0).at("history").at(0).at("val_loss").is_null());
}

}  // namespace
}  // namespace atelier::cli
