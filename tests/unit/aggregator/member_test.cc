#include <gmock/gmock.h>

#include <atomic>
#include <future>

#include "services/aggregator/batch_split.h"
#include "services/aggregator/local_member.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class FakePredictor final : public nn::Predictor {
 public:
  FakePredictor(v1::ModelSpec model, std::vector<std::thread::id>& threads)
      : model_(std::move(model)), threads_(threads) {}
  absl::StatusOr<v1::Matrix> Predict(std::string_view, int n) override {
    threads_.push_back(std::this_thread::get_id());
    return MakeMatrix(n, {0.5F, 0.5F});
  }
  const v1::ModelSpec& model() const override { return model_; }
  int64_t memory_bytes() const override { return 0; }

 private:
  const v1::ModelSpec model_;
  std::vector<std::thread::id>& threads_;
};

class LocalMemberTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::Matrix> Predict(Member& member,
                                     std::chrono::steady_clock::duration wait = kFar) {
    Caught<absl::StatusOr<v1::Matrix>> answer;
    member.Predict(MakePixels(2), In(wait), answer.callback());
    return answer.Get();
  }

  std::atomic<int> loads{0};
  absl::Status load_status;
  std::vector<std::thread::id> threads;
  WorkerPool inference{1};
  WorkerPool loading{1};
  DeadlineTimer timer;
  LocalRuntime runtime{inference, loading, timer,
                       [this](const std::string& digest) -> absl::StatusOr<std::string> {
                         ++loads;
                         if (!load_status.ok()) return load_status;
                         return digest;
                       },
                       [this](const v1::ModelSpec& model,
                              std::string_view) -> absl::StatusOr<std::unique_ptr<nn::Predictor>> {
                         return std::make_unique<FakePredictor>(model, threads);
                       }};
};

TEST_F(LocalMemberTest, LoadsOnceAndPredictsOnTheInferenceThread) {
  auto member = MakeLocalMember(MakeSpec("a"), runtime);
  ASSERT_OK_AND_ASSIGN(const v1::Matrix answer, Predict(*member));
  EXPECT_EQ(answer.rows(), 2);
  ASSERT_THAT(Predict(*member), IsOk());
  EXPECT_EQ(loads, 1);
  ASSERT_EQ(threads.size(), 2);
  EXPECT_EQ(threads[0], threads[1]);
  EXPECT_NE(threads[0], std::this_thread::get_id());
  EXPECT_EQ(runtime.waiting_bytes, 0);
}

TEST_F(LocalMemberTest, AFailedLoadFailsThePredictionAndIsTriedAgain) {
  load_status = absl::DataLossError("digest");
  auto member = MakeLocalMember(MakeSpec("a"), runtime);
  EXPECT_THAT(Predict(*member), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("loading a")));
  load_status = absl::OkStatus();
  EXPECT_THAT(Predict(*member), IsOk());
  EXPECT_EQ(loads, 2);
}

TEST_F(LocalMemberTest, LoadsAndPredictsNothingOnceTheServiceStops) {
  auto loaded = MakeLocalMember(MakeSpec("a"), runtime);
  ASSERT_THAT(Predict(*loaded), IsOk());
  runtime.stopping = true;
  EXPECT_THAT(Predict(*loaded), StatusIs(absl::StatusCode::kUnavailable));
  auto other = MakeLocalMember(MakeSpec("b"), runtime);
  EXPECT_THAT(Predict(*other), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(threads.size(), 1);
}

TEST_F(LocalMemberTest, RunsNoForwardForARequestThatIsOver) {
  auto member = MakeLocalMember(MakeSpec("a"), runtime);
  EXPECT_THAT(Predict(*member, -kSoon), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(threads.empty());
}

TEST_F(LocalMemberTest, ALoadOfMinutesHoldsNoRequestBeyondItsDeadline) {
  std::promise<void> go_on;
  ASSERT_TRUE(loading.Submit([&] { go_on.get_future().wait(); }));
  auto member = MakeLocalMember(MakeSpec("a"), runtime);
  Caught<absl::StatusOr<v1::Matrix>> patient;
  member->Predict(MakePixels(2), In(kFar), patient.callback());
  EXPECT_THAT(Predict(*member, kSoon), StatusIs(absl::StatusCode::kDeadlineExceeded));
  go_on.set_value();
  EXPECT_THAT(patient.Get(), IsOk());
  EXPECT_EQ(runtime.waiting_bytes, 0);
}

TEST_F(LocalMemberTest, RefusesWhenTooMuchWaits) {
  runtime.max_waiting_bytes = 10;
  auto member = MakeLocalMember(MakeSpec("a"), runtime);
  EXPECT_THAT(Predict(*member), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("waits")));
  EXPECT_EQ(runtime.waiting_bytes, 0);
}

TEST(BatchSplitTest, PredictsInPiecesAndPutsTheAnswersTogetherInOrder) {
  auto fake = std::make_shared<FakeMember>(MakeSpec("a"));
  const PixelsPtr pixels = MakePixels(5);
  const int64_t picture = 16 * 16 * 3;
  auto member = SplitBatches(fake, 2 * picture);
  Caught<absl::StatusOr<v1::Matrix>> answer;
  member->Predict(pixels, In(kFar), answer.callback());
  ASSERT_OK_AND_ASSIGN(const v1::Matrix whole, answer.Get());
  EXPECT_EQ(whole.rows(), 5);
  EXPECT_EQ(whole.data(), MakeMatrix(5, {0.25F, 0.75F}).data());
  std::string joined;
  std::vector<int> counts;
  for (const PixelsPtr& piece : fake->asked()) {
    joined += piece->bytes;
    counts.push_back(piece->count);
  }
  EXPECT_EQ(counts, (std::vector<int>{2, 2, 1}));
  EXPECT_EQ(joined, pixels->bytes);
}

TEST(BatchSplitTest, FailsWhenAPieceFailsAndSendsSmallRequestsWhole) {
  auto fake = std::make_shared<FakeMember>(MakeSpec("a"));
  auto member = SplitBatches(fake, 1);
  fake->Fail(absl::UnavailableError("gone"));
  Caught<absl::StatusOr<v1::Matrix>> answer;
  member->Predict(MakePixels(3), In(kFar), answer.callback());
  EXPECT_THAT(answer.Get(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(fake->asked().size(), 3);  // one picture a piece at least

  const PixelsPtr pixels = MakePixels(3);
  Caught<absl::StatusOr<v1::Matrix>> whole;
  SplitBatches(fake)->Predict(pixels, In(kFar), whole.callback());
  EXPECT_EQ(fake->asked().back(), pixels);
}

}  // namespace
}  // namespace atelier::aggregator
