#include "services/aggregator/version_manager.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class VersionManagerTest : public ::testing::Test {
 protected:
  std::unique_ptr<VersionManager> Make(VersionManager::OlderVersions older = {}) {
    VersionManagerOptions options;
    options.first_backoff = options.max_backoff = std::chrono::milliseconds(1);
    return std::make_unique<VersionManager>(
        options,
        [this](const v1::EnsembleMember& spec) -> absl::StatusOr<std::shared_ptr<Member>> {
          MutexLock lock(mutex);
          auto& member = members[spec.name()];
          if (member == nullptr) member = std::make_shared<FakeMember>(spec);
          return member;
        },
        std::move(older));
  }
  // The member that the manager will get for this name.
  std::shared_ptr<FakeMember> Script(const std::string& name) {
    MutexLock lock(mutex);
    return members[name] = std::make_shared<FakeMember>(MakeSpec(name));
  }
  // The manager works on its own thread; what it did is visible by its effects only.
  static void Until(const std::function<bool()>& condition) {
    Mutex mutex;
    CondVar never;
    MutexLock lock(mutex);
    while (!condition()) never.WaitFor(mutex, std::chrono::milliseconds(1), [] { return false; });
  }
  static int Number(const VersionManager& manager) {
    const auto current = manager.Current();
    return current == nullptr ? 0 : current->ensemble.version();
  }

  Mutex mutex;
  std::map<std::string, std::shared_ptr<FakeMember>> members;
};

TEST_F(VersionManagerTest, ServesAVersionAfterEveryMemberPredictedOnce) {
  auto manager = Make();
  EXPECT_EQ(manager->Current(), nullptr);
  manager->Offer(MakeVersion({"a", "b", "c"}));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 1);
  EXPECT_EQ(manager->Current()->min_members, 2);
  for (const auto& [name, member] : members) EXPECT_EQ(member->asked().size(), 1) << name;
}

TEST_F(VersionManagerTest, ServesTheOldVersionUntilTheNewOneIsWarm) {
  auto manager = Make();
  manager->Offer(MakeVersion({"a"}, 1));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  const auto in_flight = manager->Current();
  auto slow = Script("slow");
  slow->Hold();
  manager->Offer(MakeVersion({"slow"}, 2));
  slow->WaitAsked(1);
  EXPECT_EQ(Number(*manager), 1);
  slow->Release();
  Until([&] { return Number(*manager) == 2; });
  // Whoever began with the old version still has it whole.
  EXPECT_EQ(in_flight->ensemble.version(), 1);
  EXPECT_EQ(in_flight->members[0]->spec().name(), "a");
}

TEST_F(VersionManagerTest, KeepsTheOldVersionAndSaysWhyWhenTheNewOneDoesNotFit) {
  auto manager = Make();
  manager->Offer(MakeVersion({"a"}, 1));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  Script("bad")->Fail(absl::FailedPreconditionError("head/predictions/kernel: [7, 64] expected"));
  manager->Offer(MakeVersion({"bad"}, 2));
  Until([&] { return !manager->refusal().ok(); });
  EXPECT_THAT(manager->refusal(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                           AllOf(HasSubstr("paintings@2"), HasSubstr("member bad"),
                                                 HasSubstr("head/predictions/kernel"))));
  EXPECT_EQ(Number(*manager), 1);
}

TEST_F(VersionManagerTest, RefusesOtherPreprocessingThanThisBuilds) {
  auto manager = Make();
  v1::EnsembleVersion version = MakeVersion({"a"});
  version.mutable_members(0)->mutable_model()->mutable_image()->set_filter(v1::NEAREST);
  manager->Offer(version);
  EXPECT_THAT(manager->WaitServed(In(kFar)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("preprocessing digest")));
}

TEST_F(VersionManagerTest, FallsBackToAnEarlierVersionWhenTheFirstIsDamaged) {
  auto manager = Make([](const v1::EnsembleVersion&) {
    return std::vector<v1::EnsembleVersion>{MakeVersion({"torn"}, 2), MakeVersion({"good"}, 1)};
  });
  Script("torn")->Fail(absl::DataLossError("digest"));
  manager->Offer(MakeVersion({"torn"}, 3));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 1);
  EXPECT_THAT(manager->refusal(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("paintings@3")));
}

VersionManager::OlderVersions Older(const std::vector<v1::EnsembleVersion>& older) {
  return [older](const v1::EnsembleVersion&) { return older; };
}

TEST_F(VersionManagerTest, WaitsForMembersOfTheEarlierVersionThatAreNotThereYet) {
  auto manager = Make(Older({MakeVersion({"late"}, 1)}));
  Script("torn")->Fail(absl::DataLossError("digest"));
  auto late = Script("late");
  late->Fail(absl::UnavailableError("no trainer there holds it"));
  manager->Offer(MakeVersion({"torn"}, 2));
  late->WaitAsked(1);
  EXPECT_EQ(manager->Current(), nullptr);
  late->Fail(absl::OkStatus());
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 1);
  EXPECT_THAT(manager->refusal(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("paintings@2")));
}

TEST_F(VersionManagerTest, FallsBackWithoutAMissingMemberWhenEnoughAreWarm) {
  auto manager = Make(Older({MakeVersion({"a", "b", "gone"}, 1)}));
  Script("torn")->Fail(absl::DataLossError("digest"));
  Script("gone")->Fail(absl::UnavailableError("no trainer there"));
  manager->Offer(MakeVersion({"torn"}, 2));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 1);
}

TEST_F(VersionManagerTest, ANewerOfferEndsTheWaitForAnEarlierVersion) {
  auto manager = Make(Older({MakeVersion({"late"}, 1)}));
  Script("torn")->Fail(absl::DataLossError("digest"));
  auto late = Script("late");
  late->Fail(absl::UnavailableError("no trainer there holds it"));
  manager->Offer(MakeVersion({"torn"}, 2));
  late->WaitAsked(3);
  manager->Offer(MakeVersion({"a"}, 3));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 3);
}

TEST_F(VersionManagerTest, TriesAgainAfterADevicesBadMoment) {
  auto manager = Make();
  Script("sick")->FailTimes(absl::InternalError("CUDA error: unspecified launch failure"), 2);
  manager->Offer(MakeVersion({"sick"}));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
}

TEST_F(VersionManagerTest, RefusesAVersionThatStaysInternalAndFallsBack) {
  auto manager = Make(Older({MakeVersion({"good"}, 1)}));
  auto broken = Script("broken");
  broken->Fail(absl::InternalError("LibTorch failed to predict"));
  manager->Offer(MakeVersion({"broken"}, 2));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 1);
  EXPECT_EQ(broken->asked().size(), VersionManagerOptions().attempts_at_internal);
  EXPECT_THAT(manager->refusal(), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(VersionManagerTest, WaitsForMembersThatAreNotThereYet) {
  auto manager = Make();
  auto late = Script("late");
  late->Fail(absl::UnavailableError("no trainer there holds it"));
  manager->Offer(MakeVersion({"late"}));
  late->WaitAsked(5);
  EXPECT_EQ(manager->Current(), nullptr);
  EXPECT_THAT(manager->refusal(), StatusIs(absl::StatusCode::kUnavailable));
  late->Fail(absl::OkStatus());
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
}

TEST_F(VersionManagerTest, ServesWithoutAMissingMemberWhenEnoughAreWarm) {
  auto manager = Make();
  Script("gone")->Fail(absl::UnavailableError("no trainer there"));
  manager->Offer(MakeVersion({"a", "b", "gone"}));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(manager->Current()->members.size(), 3);
}

TEST_F(VersionManagerTest, ANewerOfferEndsTheWaitForAnOlderOne) {
  auto manager = Make();
  auto late = Script("late");
  late->Hold();
  manager->Offer(MakeVersion({"late"}, 1));
  late->WaitAsked(1);
  manager->Offer(MakeVersion({"a"}, 2));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  EXPECT_EQ(Number(*manager), 2);
  late->Release();
}

TEST_F(VersionManagerTest, LoadsNothingWhenTheSameVersionIsOfferedAgain) {
  auto manager = Make();
  manager->Offer(MakeVersion({"a"}, 1));
  ASSERT_THAT(manager->WaitServed(In(kFar)), IsOk());
  const auto before = manager->Current();
  manager->Offer(MakeVersion({"a"}, 1));
  manager->Offer(MakeVersion({"b"}, 2));
  Until([&] { return Number(*manager) == 2; });
  EXPECT_EQ(members["a"]->asked().size(), 1);
}

TEST(ValidateVersionTest, NamesWhatIsWrong) {
  EXPECT_THAT(ValidateVersion(MakeVersion({})), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ValidateVersion(MakeVersion({"a", "a"})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two members")));
  for (const char* name : {"ensemble", "../x", "", "a/b"}) {
    EXPECT_THAT(ValidateVersion(MakeVersion({name})),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("name")))
        << name;
  }
  v1::EnsembleVersion version = MakeVersion({"a"});
  version.add_classes("third");
  EXPECT_THAT(ValidateVersion(version),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("predicts 2 classes")));
}

TEST(MinMembersTest, IsAllButOneUnlessSaidOtherwise) {
  v1::EnsembleVersion version = MakeVersion({"a", "b", "c"});
  EXPECT_EQ(MinMembers(version, 0), 2);
  EXPECT_EQ(MinMembers(MakeVersion({"a"}), 0), 1);
  version.set_min_members(3);
  EXPECT_EQ(MinMembers(version, 0), 3);
  EXPECT_EQ(MinMembers(version, 1), 1);
  EXPECT_EQ(MinMembers(version, 9), 3);
}

}  // namespace
}  // namespace atelier::aggregator
