#include "services/aggregator/fan_out.h"

#include <gmock/gmock.h>

#include <atomic>
#include <limits>

#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FanOutTest : public ::testing::Test {
 protected:
  FanOutTest() {
    for (const char* name : {"a", "b", "c"}) {
      members.push_back(std::make_shared<FakeMember>(MakeSpec(name)));
    }
  }

  void Start(int min_members, std::chrono::steady_clock::duration wait) {
    FanOutRequest request;
    request.members = {members.begin(), members.end()};
    request.pictures.assign(members.size(), MakePixels(2));
    request.min_members = min_members;
    request.answer_by = In(wait);
    FanOut(
        std::move(request), timer,
        [this](const Member& member, const absl::Status&) {
          MutexLock lock(mutex);
          failures.push_back(member.spec().name());
        },
        result.callback(), [this] { ++lasts; });
  }

  DeadlineTimer timer;
  std::vector<std::shared_ptr<FakeMember>> members;
  Caught<absl::StatusOr<FanOutResult>> result;
  Mutex mutex;
  std::vector<std::string> failures;
  std::atomic<int> lasts{0};
};

TEST_F(FanOutTest, AnswersAsSoonAsAllMembersHave) {
  Start(2, kFar);
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(0, 1, 2));
  EXPECT_EQ(answer.answers[1].values, (std::vector<float>{0.25F, 0.75F, 0.25F, 0.75F}));
  EXPECT_THAT(answer.failed, IsEmpty());
  EXPECT_EQ(lasts, 1);
}

TEST_F(FanOutTest, NamesTheMemberThatFailedAndUsesTheOthers) {
  members[1]->Fail(absl::UnavailableError("gone"));
  Start(2, kFar);
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(0, 2));
  ASSERT_EQ(answer.failed.size(), 1);
  EXPECT_EQ(answer.failed[0].member, 1);
  EXPECT_THAT(failures, ElementsAre("b"));
}

TEST_F(FanOutTest, AnswersAtTheDeadlineWithoutAHangingMember) {
  members[0]->Hold();
  Start(2, kSoon);
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(1, 2));
  EXPECT_THAT(answer.failed[0].status, StatusIs(absl::StatusCode::kDeadlineExceeded));
  members[0]->Release();  // too late; must do no harm
}

TEST_F(FanOutTest, WaitsForAMemberThatIsLateButInTime) {
  members[2]->Hold();
  Start(2, kFar);
  EXPECT_FALSE(result.ready());
  members[2]->Release();
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(0, 1, 2));
}

TEST_F(FanOutTest, IsUnavailableAtOnceWhenTooFewCanAnswer) {
  members[0]->Hold();
  members[1]->Fail(absl::UnavailableError("gone"));
  members[2]->Fail(absl::FailedPreconditionError("does not fit"));
  Start(2, kFar);
  EXPECT_THAT(result.Get(), StatusIs(absl::StatusCode::kUnavailable,
                                     AllOf(HasSubstr("at least 2 of 3"), HasSubstr("b: gone"),
                                           HasSubstr("c: does not fit"))));
  EXPECT_EQ(lasts, 0);  // the first member has the pictures still
  members[0]->Release();
  EXPECT_EQ(lasts, 1);
}

TEST_F(FanOutTest, IsUnavailableAtTheDeadlineWhenTooFewHaveAnswered) {
  members[0]->Hold();
  members[1]->Hold();
  Start(2, kSoon);
  EXPECT_THAT(result.Get(), StatusIs(absl::StatusCode::kUnavailable,
                                     HasSubstr("a: no answer before the deadline")));
  EXPECT_THAT(failures, ElementsAre("a", "b"));
  members[0]->Release();
  members[1]->Release();
}

TEST_F(FanOutTest, CountsAWrongShapeAsAFailure) {
  members[1] = std::make_shared<FakeMember>(MakeSpec("b"), std::vector<float>{1, 0, 0});
  Start(1, kFar);
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(0, 2));
  EXPECT_THAT(answer.failed[0].status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("[2, 3]")));
}

TEST_F(FanOutTest, CountsNotANumberAsAFailure) {
  members[0] = std::make_shared<FakeMember>(
      MakeSpec("a"), std::vector<float>{std::numeric_limits<float>::quiet_NaN(), 1});
  Start(2, kFar);
  ASSERT_OK_AND_ASSIGN(const FanOutResult answer, result.Get());
  EXPECT_THAT(answer.used, ElementsAre(1, 2));
}

TEST_F(FanOutTest, GivesMembersNoMoreTimeThanItHas) {
  const auto latest = In(kFar);
  Start(2, kFar);
  EXPECT_THAT(result.Get(), ::atelier::testing::IsOk());
  EXPECT_LE(members[0]->deadlines()[0] - std::chrono::seconds(1), latest);
}

}  // namespace
}  // namespace atelier::aggregator
