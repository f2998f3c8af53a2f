#include "services/data/batch_window.h"

#include <future>
#include <thread>

#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {
namespace {

constexpr int kSteps = 20;

class BatchWindowTest : public ::testing::Test {
 protected:
  BatchWindowTest() {
    WriteClasses(dir_.path(), kSteps);
    catalog_ = Catalog::Create(dir_.path(), {}, 1).value();
    dataset_ = catalog_->Describe({}, [](int, int) {}).value();
    plan_.set_dataset_digest(dataset_->digest);
    plan_.set_subset(v1::ALL_LABELED);
    plan_.mutable_image()->set_size(32);
    plan_.mutable_image()->set_filter(v1::AREA);
    plan_.set_batch_size(2);
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

TEST_F(BatchWindowTest, AnotherReplicaMakesTheSameBatches) {
  const auto once = Producer();
  const auto again = Producer();
  for (int step = 0; step < once->steps(); ++step) {
    EXPECT_EQ(once->Produce(step)->digest(), again->Produce(step)->digest());
  }
}

}  // namespace
}  // namespace atelier::data
