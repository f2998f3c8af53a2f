// The reactions of one stream come from several threads: its client may leave at any point of
// another reaction. Here the test reacts in gRPC's place; no call stands behind the reactor, so
// what it starts goes nowhere.
#include "services/data/batch_reactor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <memory>
#include <thread>

#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"
#include "tests/unit/data/small_plan.h"

namespace atelier::data {
namespace {

constexpr int kRounds = 20'000;

class BatchReactorTest : public ::testing::Test {
 protected:
  BatchReactorTest() {
    WriteClasses(dir_.path(), 1);
    catalog_ = Catalog::Create(dir_.path(), {}, 1).value();
    dataset_ = catalog_->Describe({}, [](int, int) {}).value();
    plan_ = SmallPlan(*dataset_);
    window_ =
        room_
            .Open("plan", 0,
                  [&] { return BatchProducer::Create(*catalog_, cache_, dataset_, plan_, 0); })
            .value();
    std::atomic<bool> made = false;
    window_->Request(0, [&](const absl::StatusOr<SharedBatch>& batch) {
      EXPECT_TRUE(batch.ok()) << batch.status();
      made = true;
      made.notify_one();
    });
    made.wait(false);
  }
  void TearDown() override { room_.Stop(); }

  // `react` and OnCancel at once, in reactors as `make` makes them.
  void CancelDuring(const std::function<BatchReactor*()>& make,
                    const std::function<void(BatchReactor&)>& react) {
    BatchReactor* reactor = nullptr;
    std::barrier both(2);
    std::thread client([&] {
      for (int round = 0; round < kRounds; ++round) {
        both.arrive_and_wait();
        // Sooner and later: over the whole of the reaction.
        for (volatile int pause = round % 256; pause > 0;) pause = pause - 1;
        reactor->OnCancel();
        both.arrive_and_wait();
      }
    });
    for (int round = 0; round < kRounds; ++round) {
      reactor = make();
      both.arrive_and_wait();
      react(*reactor);
      both.arrive_and_wait();
      reactor->OnDone();  // deletes it
    }
    client.join();
  }

  testing::TempDir dir_;
  std::unique_ptr<Catalog> catalog_;
  PictureCache cache_{1 << 20};
  std::shared_ptr<const Dataset> dataset_;
  v1::DataPlan plan_;
  WindowRoom room_{64 << 20, 1};
  std::shared_ptr<BatchWindow> window_;  // of one step, which is made
};

TEST_F(BatchReactorTest, AClientMayLeaveWhileItsStreamBegins) {
  CancelDuring([] { return new BatchReactor; },
               [&](BatchReactor& reactor) { reactor.Begin(window_, 0); });
}

TEST_F(BatchReactorTest, AClientMayLeaveBetweenTwoBatches) {
  CancelDuring(
      [&] {
        auto* reactor = new BatchReactor;
        reactor->Begin(window_, 0);
        return reactor;
      },
      [](BatchReactor& reactor) { reactor.OnWriteDone(true); });
}

}  // namespace
}  // namespace atelier::data
