#include "services/data/batch_window.h"

#include <malloc.h>

#include <future>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/full_pool.h"
#include "tests/testing/little_memory.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"
#include "tests/unit/data/small_plan.h"

namespace atelier::data {
namespace {

constexpr int kSteps = 20;

class BatchWindowTest : public ::testing::Test {
 protected:
  BatchWindowTest() {
    WriteClasses(dir_.path(), kSteps);
    catalog_ = Catalog::Create(dir_.path(), {}, 1).value();
    dataset_ = catalog_->Describe({}, [](int, int) {}).value();
    plan_ = SmallPlan(*dataset_);
    plan_.set_shuffle(true);
    plan_.mutable_augmentation()->set_rotation_degrees(10);
  }
  std::shared_ptr<BatchProducer> Producer() {
    return BatchProducer::Create(*catalog_, cache_, dataset_, plan_, 0).value();
  }
  static std::string Read(BatchWindow& window, int step) {
    std::promise<absl::StatusOr<SharedBatch>> got;
    window.Request(step,
                   [&](absl::StatusOr<SharedBatch> batch) { got.set_value(std::move(batch)); });
    return (*got.get_future().get())->digest();
  }

  testing::TempDir dir_;
  std::unique_ptr<Catalog> catalog_;
  PictureCache cache_{1 << 20};
  std::shared_ptr<const Dataset> dataset_;
  v1::DataPlan plan_;
};

TEST_F(BatchWindowTest, TwoConsumersShareOneProduction) {
  WindowRoom room(64 << 20, 2);
  ASSERT_OK_AND_ASSIGN(auto first, room.Open("plan", 0, [&] { return Producer(); }));
  ASSERT_OK_AND_ASSIGN(auto second, room.Open("plan", 0, [&] { return Producer(); }));
  EXPECT_EQ(first, second);
  for (int step = 0; step < kSteps; ++step) EXPECT_EQ(Read(*first, step), Read(*second, step));
  EXPECT_EQ(room.stats().produced, kSteps);
  EXPECT_EQ(room.stats().recomputed, 0);
  room.Stop();
}

// Clients choose the plans, and most that can be thought of cannot be carried out.
TEST_F(BatchWindowTest, PlansThatCannotBeCarriedOutLeaveNothingBehind) {
  constexpr int kPlans = 2000;
  constexpr size_t kDigestBytes = 10'000;
  WindowRoom room(64 << 20, 1);
  const auto refuse = []() -> absl::StatusOr<std::shared_ptr<BatchProducer>> {
    return absl::InvalidArgumentError("no");
  };
  const size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < kPlans; ++i) {
    const std::string digest = std::to_string(i) + std::string(kDigestBytes, 'd');
    EXPECT_FALSE(room.Open(digest, 0, refuse).ok());
  }
  EXPECT_LT(::mallinfo2().uordblks, before + kPlans * kDigestBytes / 10);
  room.Stop();
}

TEST_F(BatchWindowTest, AConsumerBehindGetsTheSameBatchesAndTheBytesStayBounded) {
  // Room for three batches of 2 x 32 x 32 x 3 bytes.
  constexpr int64_t kBudget = 3 * 2 * 32 * 32 * 3;
  WindowRoom room(kBudget, 2);
  ASSERT_OK_AND_ASSIGN(auto window, room.Open("plan", 0, [&] { return Producer(); }));
  std::vector<std::string> fast;
  for (int step = 0; step < kSteps; ++step) fast.push_back(Read(*window, step));
  EXPECT_LE(room.stats().bytes, 2 * kBudget);
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_EQ(Read(*window, step), fast[static_cast<size_t>(step)]) << step;
  }
  EXPECT_GT(room.stats().recomputed, 0);
  room.Stop();
}

TEST_F(BatchWindowTest, AWindowThatComesLaterTakesItsShareFromTheOthers) {
  constexpr int64_t kBytes = 2 * 32 * 32 * 3;
  WindowRoom room(8 * kBytes, 2);
  ASSERT_OK_AND_ASSIGN(auto first, room.Open("plan", 0, [&] { return Producer(); }));
  // Its consumer stops here, six more are made ahead.
  Read(*first, 0);
  while (room.stats().bytes < 7 * kBytes) std::this_thread::yield();
  ASSERT_OK_AND_ASSIGN(auto second, room.Open("plan", 1, [&] { return Producer(); }));
  EXPECT_EQ(room.stats().bytes, 4 * kBytes);
  for (int step = 0; step < kSteps; ++step) Read(*second, step);
  EXPECT_LE(room.stats().bytes, 8 * kBytes);
  // What was given up is made again.
  const auto alone = Producer();
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_EQ(Read(*first, step), alone->Produce(step)->digest()) << step;
  }
  room.Stop();
}

// Workers that are taken: the consumer is told so, and what was refused is made when asked again.
TEST_F(BatchWindowTest, AProductionThatIsRefusedIsUnavailableAndNotLost) {
  WorkerPool workers(1, /*max_queued=*/1);
  WindowBudget budget(64 << 20);
  const auto window = std::make_shared<BatchWindow>(Producer(), workers, budget);
  testing::FullPool full(workers);
  auto answer = std::make_shared<std::promise<absl::Status>>();
  auto asked = std::async(std::launch::async, [&] {
    window->Request(0, [answer](const absl::StatusOr<SharedBatch>& batch) {
      answer->set_value(batch.status());
    });
  });
  EXPECT_EQ(asked.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  full.Release();
  EXPECT_THAT(answer->get_future().get(), testing::StatusIs(absl::StatusCode::kUnavailable));
  const auto alone = Producer();
  for (int step = 0; step < kSteps; ++step) {
    // Refused as long as a step made ahead fills the queue of one.
    absl::StatusOr<SharedBatch> batch;
    do {
      std::promise<absl::StatusOr<SharedBatch>> got;
      window->Request(step, [&](const absl::StatusOr<SharedBatch>& made) { got.set_value(made); });
      batch = got.get_future().get();
    } while (absl::IsUnavailable(batch.status()));
    EXPECT_EQ((*batch)->digest(), alone->Produce(step)->digest()) << step;
  }
  workers.Stop();
}

// A stream that was cancelled waits for its batch; what was to be made ahead for it is not made.
TEST_F(BatchWindowTest, NothingIsMadeAheadForAWindowThatEverybodyHasLeft) {
  WorkerPool workers(1);
  WindowBudget budget(64 << 20);
  std::promise<void> go_on;
  ASSERT_TRUE(workers.Submit([&] { go_on.get_future().wait(); }));
  auto window = std::make_shared<BatchWindow>(Producer(), workers, budget);
  absl::Status answer = absl::UnknownError("none came");
  window->Request(0, [&](const absl::StatusOr<SharedBatch>& batch) { answer = batch.status(); });
  const std::weak_ptr<BatchWindow> left = std::exchange(window, nullptr);
  EXPECT_FALSE(left.expired()) << "somebody waits";
  go_on.set_value();
  workers.Stop();
  EXPECT_THAT(answer, testing::IsOk());
  EXPECT_TRUE(left.expired());
  EXPECT_EQ(budget.stats().produced, 1);
  EXPECT_EQ(budget.stats().bytes, 0);
}

TEST_F(BatchWindowTest, LabelsCountAgainstTheMessageToo) {
  plan_.mutable_image()->set_size(144);
  plan_.set_batch_size(256);
  Dataset many = *dataset_;
  const auto create = [&](int classes) {
    many.classes.resize(static_cast<size_t>(classes));
    return BatchProducer::Create(*catalog_, cache_, std::make_shared<Dataset>(many), plan_, 0);
  };
  EXPECT_THAT(create(500), testing::IsOk());
  EXPECT_THAT(create(1000), testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                              ::testing::HasSubstr("labels of 1000 classes")));
  plan_.set_subset(v1::TEST);  // without labels
  many.class_of_sample.assign(many.class_of_sample.size(), -1);
  EXPECT_THAT(create(1000), testing::IsOk());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
// On a worker's thread an exception would end the process.
TEST_F(BatchWindowTest, WithoutMemoryABatchIsRefused) {
  plan_.mutable_image()->set_size(16);
  plan_.set_batch_size(1);
  Dataset many = *dataset_;
  many.classes.resize(4'000'000);
  const auto producer =
      BatchProducer::Create(*catalog_, cache_, std::make_shared<Dataset>(many), plan_, 0).value();
  // What the heap holds free from before would serve.
  std::vector<std::unique_ptr<char[]>> taken;
  {
    const testing::LittleMemory little(0);
    while (char* hole = new (std::nothrow) char[8 << 20]) taken.emplace_back(hole);
  }
  int refusals = 0;
  absl::Status made;
  do {
    {
      const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
      EXPECT_NO_THROW(made = producer->Produce(0).status());
    }
    if (!made.ok()) ++refusals;
  } while (absl::IsResourceExhausted(made));
  EXPECT_THAT(made, testing::IsOk());
  // Its labels take 16 MB where the batch is put together, and as much in the message.
  EXPECT_GE(refusals, 4);
}
#endif

TEST_F(BatchWindowTest, AnotherReplicaMakesTheSameBatches) {
  const auto once = Producer();
  const auto again = Producer();
  for (int step = 0; step < once->steps(); ++step) {
    EXPECT_EQ(once->Produce(step)->digest(), again->Produce(step)->digest());
  }
}

}  // namespace
}  // namespace atelier::data
