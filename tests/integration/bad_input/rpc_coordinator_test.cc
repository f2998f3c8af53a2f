// RELIABILITY, "RPC" and "Names": bad content of the coordinator's three services, with the code
// each call is answered with; after each a good run can still be submitted.
#include <cmath>
#include <limits>

#include "common/base/files.h"
#include "tests/integration/bad_input/rpc_coordinator_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kNotReady = absl::StatusCode::kFailedPrecondition;
constexpr auto kLimit = absl::StatusCode::kResourceExhausted;
constexpr auto kStale = absl::StatusCode::kAborted;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kTwoTo63 = std::numeric_limits<int64_t>::min();

// What is no name, of RELIABILITY's list.
const std::vector<std::string>& BadNames() {
  static const auto* const names = new std::vector<std::string>{"../x",
                                                                "/etc/x",
                                                                "%2e%2e",
                                                                std::string("x\0y", 3),
                                                                "a\\b",
                                                                std::string(300, 'x'),
                                                                std::string(65, 'x'),
                                                                "",
                                                                ".",
                                                                "..",
                                                                "-x",
                                                                "a b",
                                                                "a/b",
                                                                "a\n",
                                                                "\xc3\xa4"};
  return *names;
}

struct BadCall {
  std::string name;
  std::function<absl::Status(CoordinatorRpcs&)> call;
  absl::StatusCode code = kInvalid;
};

class BadCallsTest : public CoordinatorRpcs, public ::testing::WithParamInterface<BadCall> {};

TEST_P(BadCallsTest, HasItsCodeAndTheNextGoodRequestSucceeds) {
  const absl::Status status = GetParam().call(*this);
  EXPECT_THAT(status, StatusIs(GetParam().code));
  EXPECT_LT(status.message().size(), 500);
  EXPECT_EQ(status.message().find(dir_.path().string()), std::string::npos) << "echoes a path";
  ExpectNextGoodRequestSucceeds();
}

// A plan with one thing wrong.
BadCall Plan(const std::string& name, std::function<void(v1::RunPlan&)> spoil,
             absl::StatusCode code = kInvalid) {
  return {"Plan" + name, [spoil](CoordinatorRpcs& rpcs) { return rpcs.SubmitPlan(spoil); }, code};
}
BadCall Ensemble(const std::string& name, std::function<void(v1::EnsembleVersion&)> spoil,
                 absl::StatusCode code = kInvalid) {
  return {"Ensemble" + name, [spoil](CoordinatorRpcs& rpcs) { return rpcs.PublishEnsemble(spoil); },
          code};
}

INSTANTIATE_TEST_SUITE_P(
    Plans, BadCallsTest,
    ::testing::Values(
        Plan("Empty", [](auto& p) { p.Clear(); }),
        Plan("NoMembers", [](auto& p) { p.clear_members(); }),
        Plan("ThirtyThreeMembers",
             [](auto& p) {
               while (p.members_size() < 33) {
                 *p.add_members() = p.members(0);
                 p.mutable_members(p.members_size() - 1)
                     ->set_name(std::to_string(p.members_size()));
               }
             }),
        Plan("MemberRepeated", [](auto& p) { p.mutable_members(1)->set_name("a"); }),
        Plan("MemberNamedLikeTheWhole",
             [](auto& p) { p.mutable_members(0)->set_name("ensemble"); }),
        Plan("UnknownBackbone", [](auto& p) { p.mutable_members(0)->set_backbone("vgg16"); }),
        Plan("BackboneIsAPath", [](auto& p) { p.mutable_members(0)->set_backbone("../x"); }),
        Plan("NoStages", [](auto& p) { p.clear_stages(); }),
        Plan("StageRepeated", [](auto& p) { *p.add_stages() = p.stages(0); }),
        Plan("BatchMinusOne", [](auto& p) { p.set_batch_size(-1); }),
        Plan("BatchOverItsLimit", [](auto& p) { p.set_batch_size(1025); }),
        // 25 * 512 * 512 * 3 bytes are 19 MiB: over what one message may carry.
        Plan("BatchOverTheReceiveLimit",
             [](auto& p) {
               p.mutable_image()->set_size(512);
               p.set_batch_size(25);
             }),
        Plan("ImageSizeZeroPixelsBelow", [](auto& p) { p.mutable_image()->set_size(15); }),
        Plan("ImageSizeOver", [](auto& p) { p.mutable_image()->set_size(1025); }),
        Plan("ImageSizeOverflow",
             [](auto& p) { p.mutable_image()->set_size(std::numeric_limits<int>::max()); }),
        Plan("TwoChannels", [](auto& p) { p.mutable_image()->set_channels(2); }),
        Plan("NaNLearningRate",
             [](auto& p) { p.mutable_stages(0)->mutable_optimizer()->set_learning_rate(kNaN); }),
        Plan("NaNValidationFraction", [](auto& p) { p.set_validation_fraction(kNaN); }),
        Plan("NaNDropout", [](auto& p) { p.mutable_head()->set_dropout(kNaN); }),
        Plan("InfiniteL2", [](auto& p) { p.mutable_head()->set_l2(HUGE_VALF); }),
        Plan("NaNAugmentation",
             [](auto& p) { p.mutable_stages(0)->mutable_augmentation()->set_zoom(kNaN); }),
        Plan("NaNBudget", [](auto& p) { p.set_bad_sample_budget(kNaN); }),
        Plan("EpochsMinusOne", [](auto& p) { p.mutable_stages(0)->set_epochs(-1); }),
        Plan("MoreMinMembersThanMembers", [](auto& p) { p.set_min_members(3); }),
        Plan("DigestThatIsNone",
             [](auto& p) { p.mutable_members(0)->set_initial_weights_digest("../x"); }),
        Plan(
            "WeightsNobodyUploaded",
            [](auto& p) { p.mutable_members(0)->set_initial_weights_digest(std::string(64, 'a')); },
            kNotReady),
        Plan(
            "DatasetNobodyHas", [](auto& p) { p.set_dataset("missing"); }, kNotFound),
        BadCall{"PlanWithoutRequestId",
                [](CoordinatorRpcs& rpcs) {
                  v1::SubmitRunRequest request;
                  *request.mutable_plan() = MakePlan({"a"}, {"train"});
                  return rpcs.Call(*rpcs.run_stub_, &v1::CoordinatorService::Stub::SubmitRun,
                                   request);
                }},
        BadCall{"PlanWithALongRequestId",
                [](CoordinatorRpcs& rpcs) {
                  v1::SubmitRunRequest request;
                  request.set_request_id(std::string(129, 'x'));
                  *request.mutable_plan() = MakePlan({"a"}, {"train"});
                  return rpcs.Call(*rpcs.run_stub_, &v1::CoordinatorService::Stub::SubmitRun,
                                   request);
                }},
        BadCall{"RequestIdOfAnotherPlan",
                [](CoordinatorRpcs& rpcs) {
                  EXPECT_THAT(rpcs.SubmitPlan([](auto&) {}), IsOk());
                  return rpcs.SubmitPlan([](auto& p) { p.set_seed(8); });
                }},
        BadCall{"AMessageOverFourMebibytes",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.SubmitPlan([](auto& p) { p.set_recipe(std::string(4 << 20, 'x')); });
                },
                kLimit}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Ensembles, BadCallsTest,
    ::testing::Values(
        Ensemble("Empty", [](auto& e) { e.Clear(); }),
        Ensemble("NoMembers", [](auto& e) { e.clear_members(); }),
        Ensemble("NoClasses",
                 [](auto& e) {
                   e.clear_classes();
                   for (auto& member : *e.mutable_members()) member.mutable_model()->set_classes(0);
                 }),
        Ensemble("MemberRepeated", [](auto& e) { e.mutable_members(1)->set_name("a"); }),
        Ensemble("MemberNamedLikeTheWhole",
                 [](auto& e) { e.mutable_members(0)->set_name("ensemble"); }),
        Ensemble("MinMembersMinusOne", [](auto& e) { e.set_min_members(-1); }),
        Ensemble("MoreMinMembersThanMembers", [](auto& e) { e.set_min_members(3); }),
        Ensemble("WithoutWeights", [](auto& e) { e.mutable_members(0)->clear_weights_digest(); }),
        Ensemble("WeightsThatAreNoDigest",
                 [](auto& e) { e.mutable_members(0)->set_weights_digest("../../x"); }),
        Ensemble(
            "WeightsNobodyUploaded",
            [](auto& e) { e.mutable_members(0)->set_weights_digest(std::string(64, 'a')); },
            kNotReady),
        Ensemble(
            "OtherClassCount",
            [](auto& e) { e.mutable_members(0)->mutable_model()->set_classes(2); }, kNotReady),
        BadCall{"PromoteVersionZero",
                [](CoordinatorRpcs& rpcs) { return rpcs.registry_->Promote("birds", 0).status(); }},
        BadCall{
            "PromoteVersionMinusOne",
            [](CoordinatorRpcs& rpcs) { return rpcs.registry_->Promote("birds", -1).status(); }},
        BadCall{"PromoteUnknown",
                [](CoordinatorRpcs& rpcs) { return rpcs.registry_->Promote("birds", 1).status(); },
                kNotFound},
        BadCall{"UnknownVersion",
                [](CoordinatorRpcs& rpcs) {
                  EXPECT_THAT(rpcs.registry_->Publish(rpcs.GoodEnsemble("birds"), true), IsOk());
                  return rpcs.registry_->GetEnsemble("birds", 2).status();
                },
                kNotFound},
        BadCall{"UnknownName",
                [](CoordinatorRpcs& rpcs) {
                  EXPECT_THAT(rpcs.registry_->Publish(rpcs.GoodEnsemble("birds"), true), IsOk());
                  return rpcs.registry_->GetEnsemble("cats", 0).status();
                },
                kNotFound},
        BadCall{"NothingPromoted",
                [](CoordinatorRpcs& rpcs) { return rpcs.registry_->GetEnsemble("", 0).status(); },
                kNotReady}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Artifacts, BadCallsTest,
    ::testing::Values(
        BadCall{"UnknownArtifact",
                [](CoordinatorRpcs& rpcs) { return rpcs.Download(std::string(64, 'a'), 0); },
                kNotFound},
        BadCall{"OffsetMinusOne",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.Download(*rpcs.registry_->PutBytes("bytes"), -1);
                }},
        BadCall{"OffsetTwoTo63",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.Download(*rpcs.registry_->PutBytes("bytes"), kTwoTo63);
                }},
        BadCall{"OffsetPastTheEnd",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.Download(*rpcs.registry_->PutBytes("bytes"), 6);
                }},
        BadCall{"SizeMinusOne",
                [](CoordinatorRpcs& rpcs) { return rpcs.Upload(Sha256Hex("x"), -1, "x"); }},
        BadCall{"SizeTwoTo63",
                [](CoordinatorRpcs& rpcs) { return rpcs.Upload(Sha256Hex("x"), kTwoTo63, "x"); }},
        BadCall{"SizeOverFourGibibytes",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.Upload(Sha256Hex("x"), (int64_t{4} << 30) + 1, "x");
                },
                kLimit},
        BadCall{"FewerBytesThanAnnounced",
                [](CoordinatorRpcs& rpcs) { return rpcs.Upload(Sha256Hex("x"), 2, "x"); }},
        BadCall{"MoreBytesThanAnnounced",
                [](CoordinatorRpcs& rpcs) { return rpcs.Upload(Sha256Hex("xy"), 1, "xy"); }},
        BadCall{"OtherBytesThanAnnounced",
                [](CoordinatorRpcs& rpcs) { return rpcs.Upload(Sha256Hex("x"), 1, "y"); }},
        BadCall{"AChunkOverAMebibyte",
                [](CoordinatorRpcs& rpcs) {
                  const std::string bytes((1 << 20) + 1, 'x');
                  return rpcs.Upload(Sha256Hex(bytes), static_cast<int64_t>(bytes.size()), bytes);
                },
                kLimit}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Fleet, BadCallsTest,
    ::testing::Values(
        BadCall{"WorkWithoutHello",
                [](CoordinatorRpcs& rpcs) {
                  v1::TrainerMessage message;
                  message.mutable_heartbeat();
                  return rpcs.Work({message});
                }},
        BadCall{"WorkWithAnEmptyMessage",
                [](CoordinatorRpcs& rpcs) { return rpcs.Work({v1::TrainerMessage()}); }},
        BadCall{
            "HelloTwice",
            [](CoordinatorRpcs& rpcs) { return rpcs.Work({rpcs.Hello("t"), rpcs.Hello("t")}); }},
        BadCall{"HelloWithoutId",
                [](CoordinatorRpcs& rpcs) { return rpcs.Work({rpcs.Hello("")}); }},
        BadCall{
            "HelloWithALongId",
            [](CoordinatorRpcs& rpcs) { return rpcs.Work({rpcs.Hello(std::string(129, 'x'))}); }},
        BadCall{"DataServiceWithoutId",
                [](CoordinatorRpcs& rpcs) { return rpcs.RegisterDataAs("", ":1"); }},
        BadCall{
            "DataServiceWithALongId",
            [](CoordinatorRpcs& rpcs) { return rpcs.RegisterDataAs(std::string(129, 'x'), ":1"); }},
        BadCall{"DataServiceWithoutAddress",
                [](CoordinatorRpcs& rpcs) { return rpcs.RegisterDataAs("x", ""); }},
        BadCall{
            "FinishWithoutEnd",
            [](CoordinatorRpcs& rpcs) { return rpcs.FinishTask([](auto& r) { r.clear_end(); }); }},
        BadCall{"FinishWithoutWeights",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask([](auto& r) { r.clear_result(); });
                }},
        BadCall{"FinishWithADigestThatIsNone",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask(
                      [](auto& r) { r.mutable_result()->set_weights_digest("/etc/x"); });
                }},
        BadCall{"FinishWithoutRequestId",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask([](auto& r) { r.clear_request_id(); });
                }},
        BadCall{"FinishOfAStaleLease",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask([](auto& r) { r.mutable_lease()->set_epoch(0); });
                },
                kStale},
        BadCall{"FinishOfAnUnknownRun",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask([](auto& r) { r.mutable_lease()->set_run_id("../x"); });
                },
                kNotFound},
        BadCall{"FinishOfAnUnknownMember",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.FinishTask([](auto& r) { r.mutable_lease()->set_member("../x"); });
                },
                kNotFound},
        BadCall{"CommitWithoutDigest",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.CommitTask([](auto& r) { r.clear_digest(); });
                }},
        BadCall{"CommitOfNothingUploaded",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.CommitTask([](auto& r) { r.set_digest(std::string(64, 'a')); });
                },
                kNotReady},
        BadCall{"CommitAtEpochMinusOne",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.CommitTask([](auto& r) { r.mutable_cursor()->set_epoch(-1); });
                }},
        BadCall{"CommitOfAStaleLease",
                [](CoordinatorRpcs& rpcs) {
                  return rpcs.CommitTask([](auto& r) { r.mutable_lease()->set_epoch(kTwoTo63); });
                },
                kStale}),
    [](const auto& test) { return test.param.name; });

class NamesTest : public CoordinatorRpcs {};

TEST_F(NamesTest, OfWhatIsMadeAreInvalidAndOfWhatIsAskedForNotFound) {
  for (const std::string& name : BadNames()) {
    SCOPED_TRACE("name \"" + name + "\"");
    // Empty, these two are filled in: the folder's name, the backbone's.
    if (!name.empty()) {
      EXPECT_THAT(SubmitPlan([&](auto& p) { p.set_name(name); }), StatusIs(kInvalid));
      EXPECT_THAT(SubmitPlan([&](auto& p) { p.mutable_members(0)->set_name(name); }),
                  StatusIs(kInvalid));
    }
    EXPECT_THAT(SubmitPlan([&](auto& p) { p.mutable_stages(0)->set_name(name); }),
                StatusIs(kInvalid));
    EXPECT_THAT(PublishEnsemble([&](auto& e) { e.set_name(name); }), StatusIs(kInvalid));
    EXPECT_THAT(PublishEnsemble([&](auto& e) { e.mutable_members(0)->set_name(name); }),
                StatusIs(kInvalid));
    EXPECT_THAT(Download(name, 0), StatusIs(kInvalid));
    EXPECT_THAT(Upload(name, 1, "x"), StatusIs(kInvalid));
    EXPECT_THAT(registry_->Exists(name), StatusIs(kInvalid));

    EXPECT_THAT(registry_->GetEnsemble(name, 1), StatusIs(kNotFound));
    EXPECT_THAT(registry_->Promote(name, 1), StatusIs(kNotFound));
    EXPECT_THAT(runs_->Get(name), StatusIs(kNotFound));
    EXPECT_THAT(runs_->Cancel(name, "enough"), StatusIs(kNotFound));
    EXPECT_THAT(runs_->Resume(name), StatusIs(kNotFound));
    v1::WatchRunRequest watch;
    watch.set_run_id(name);
    EXPECT_THAT(Read(*run_stub_, &v1::CoordinatorService::Stub::WatchRun, watch),
                StatusIs(kNotFound));
    v1::ListEnsemblesRequest list;
    list.set_name(name);
    EXPECT_THAT(Call(*registry_stub_, &v1::RegistryService::Stub::ListEnsembles, list), IsOk());
  }
  ExpectNextGoodRequestSucceeds();
}

TEST_F(NamesTest, ALinkInTheStoreIsNotFollowed) {
  const std::string secret = "not for everybody";
  const std::string digest = Sha256Hex(secret);
  const atelier::testing::TempDir elsewhere;
  ASSERT_THAT(WriteFileAtomically(elsewhere.path() / "secret", secret), IsOk());
  const auto place = dir_.path() / "artifacts" / digest.substr(0, 2) / digest;
  std::filesystem::create_directories(place.parent_path());
  std::filesystem::create_symlink(elsewhere.path() / "secret", place);
  EXPECT_THAT(Download(digest, 0), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(registry_->Exists(digest), IsOkAndHolds(false));
  // An upload of these bytes takes the link's place.
  EXPECT_THAT(Upload(digest, static_cast<int64_t>(secret.size()), secret), IsOk());
  EXPECT_FALSE(std::filesystem::is_symlink(place));
  EXPECT_THAT(registry_->GetBytes(digest), IsOkAndHolds(secret));
  ExpectNextGoodRequestSucceeds();
}

}  // namespace
}  // namespace atelier::coordinator
