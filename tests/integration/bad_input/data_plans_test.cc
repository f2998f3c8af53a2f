// Requests for batches that no epoch has, through a data-service: each has its code, and the next
// good request succeeds.
#include <functional>
#include <limits>

#include "tests/integration/bad_input/data_fixture.h"

namespace atelier::data {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;

class PlansTest : public DataServiceTest {};

TEST_F(PlansTest, WithAFieldOutOfRange) {
  ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
  constexpr int kLargest = std::numeric_limits<int>::max();
  const struct {
    absl::StatusCode code;
    std::string message;
    std::function<void(v1::DataPlan&)> spoil;
  } cases[] = {
      {kBad, "batch_size", [](v1::DataPlan& p) { p.set_batch_size(0); }},
      {kBad, "batch_size", [](v1::DataPlan& p) { p.set_batch_size(-1); }},
      {kBad, "batch_size", [](v1::DataPlan& p) { p.set_batch_size(1025); }},
      {kBad, "image.size", [](v1::DataPlan& p) { p.mutable_image()->set_size(0); }},
      {kBad, "image.size", [](v1::DataPlan& p) { p.mutable_image()->set_size(kLargest); }},
      {kBad, "fit into a message",
       [](v1::DataPlan& p) {
         p.set_batch_size(1024);
         p.mutable_image()->set_size(1024);
       }},
      {kBad, "classes", [](v1::DataPlan& p) { p.add_classes("horse"); }},
      {absl::StatusCode::kFailedPrecondition, "digest",
       [](v1::DataPlan& p) { p.set_dataset_digest("0"); }},
      {absl::StatusCode::kFailedPrecondition, "no samples",
       [](v1::DataPlan& p) { p.set_subset(v1::TEST); }},
  };
  for (const auto& test : cases) {
    v1::DataPlan plan = PlanOf("good", good.summary.digest());
    test.spoil(plan);
    EXPECT_THAT(Epoch(plan), StatusIs(test.code, HasSubstr(test.message)));
    ExpectGoodRequestsSucceed();
  }
}

TEST_F(PlansTest, FromACursorThatIsNone) {
  ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
  const v1::DataPlan plan = PlanOf("good", good.summary.digest());
  constexpr int kSteps = 2 * kPerClass / kBatch;
  EXPECT_THAT(Epoch(plan, -1), StatusIs(kBad, HasSubstr("epoch")));
  EXPECT_THAT(Epoch(plan, 0, -1), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Epoch(plan, 0, kSteps + 1), StatusIs(absl::StatusCode::kOutOfRange));
  ASSERT_OK_AND_ASSIGN(const auto none, Epoch(plan, 0, kSteps));
  EXPECT_TRUE(none.empty());
  ExpectGoodRequestsSucceed();
}

TEST_F(PlansTest, OfTwoOrdersOfTheClassesAreKeptApart) {
  v1::DescribeDatasetRequest request;
  request.set_dataset("good");
  request.add_classes("dog");
  request.add_classes("cat");
  ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
  ASSERT_OK_AND_ASSIGN(const DatasetDescription turned,
                       client_->Describe(request, [](const auto&) {}));
  v1::DataPlan plan = PlanOf("good", good.summary.digest());
  v1::DataPlan turned_plan = PlanOf("good", turned.summary.digest());
  *turned_plan.mutable_classes() = request.classes();
  // The first sample is a cat: class 0 of one plan, class 1 of the other.
  ASSERT_OK_AND_ASSIGN(const auto batches, Epoch(plan));
  ASSERT_OK_AND_ASSIGN(const auto turned_batches, Epoch(turned_plan));
  EXPECT_EQ(batches[0].labels(0), 1);
  EXPECT_EQ(turned_batches[0].labels(0), 0);
}

// A window reads its folder, whose files may go without the other's.
TEST_F(PlansTest, OfTwoFoldersOfEqualContentShareNoWindow) {
  WriteClasses(root() / "copy", kPerClass);
  ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
  ASSERT_OK_AND_ASSIGN(const DatasetDescription copy, Describe("copy"));
  ASSERT_EQ(copy.summary.digest(), good.summary.digest());
  v1::DataPlan plan = PlanOf("good", good.summary.digest());
  plan.mutable_image()->set_size(480);  // far more than is on its way to one that does not read
  plan.set_batch_size(2);
  const auto waiting = source_->Open(plan, 0, 0);
  ASSERT_OK_AND_ASSIGN(const std::optional<v1::Batch> first, waiting->Next());
  plan.set_dataset("copy");
  ASSERT_OK_AND_ASSIGN(const auto batches, Epoch(plan));
  ASSERT_EQ(batches.size(), kPerClass);
  EXPECT_EQ(batches[0].digest(), first->digest());
  // One window makes no step twice.
  EXPECT_GT(server_->stats().batches_produced, kPerClass);
}

}  // namespace
}  // namespace atelier::data
