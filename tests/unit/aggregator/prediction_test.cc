#include "services/aggregator/prediction.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "common/vision/resize.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Png(int side = 20) {
  vision::Image image = vision::Image::Make(side, side, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 5);
  return vision::EncodePng(image).value();
}

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): GoogleTest deletes it as a Test
class PredictionTest : public ::testing::Test {
 protected:
  PredictionTest() {
    members["a"] = std::make_shared<FakeMember>(MakeSpec("a"), std::vector<float>{0.75F, 0.25F});
    members["b"] = std::make_shared<FakeMember>(MakeSpec("b"), std::vector<float>{0.5F, 0.5F});
    members["c"] = std::make_shared<FakeMember>(MakeSpec("c"), std::vector<float>{0.25F, 0.75F});
  }
  ~PredictionTest() override { EXPECT_TRUE(admission.WaitEmpty(In(kFar))); }

  void Serve(const std::vector<std::string>& names = {"a", "b", "c"}, int number = 1) {
    versions.Offer(MakeVersion(names, number));
    ASSERT_THAT(versions.WaitServed(In(kFar)), IsOk());
  }
  PredictionRequest Request(const std::vector<std::string>& pictures,
                            std::chrono::steady_clock::duration wait = kFar) {
    PredictionRequest request;
    absl::StatusOr<ServedModel> model = FindModel(versions, kEnsembleModel);
    EXPECT_THAT(model, IsOk());
    if (model.ok()) request.model = *std::move(model);
    request.pictures.encoded.assign(pictures.begin(), pictures.end());
    request.pictures.count = static_cast<int>(pictures.size());
    request.deadline = In(wait);
    return request;
  }
  absl::StatusOr<Prediction> Predict(PredictionRequest request) {
    Caught<absl::StatusOr<Prediction>> answer;
    engine.Predict(std::move(request), answer.callback());
    return answer.Get();
  }

  // Bytes may be held a moment longer than the answer takes.
  void WaitNoBytes() {
    MutexLock lock(bytes_mutex);
    bytes_changed.Wait(bytes_mutex, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return bytes == 0; });
  }

  std::map<std::string, std::shared_ptr<FakeMember>> members;
  RequestLimits limits;
  Mutex bytes_mutex;
  CondVar bytes_changed;
  int64_t bytes ABSL_GUARDED_BY(bytes_mutex) = 0;
  Admission admission{limits, [this](int64_t now) {
                        MutexLock lock(bytes_mutex);
                        bytes = now;
                        bytes_changed.NotifyAll();
                      }};
  WorkerPool decoding{2};
  DeadlineTimer timer;
  std::unique_ptr<Metrics> metrics = Metrics::Create(nullptr);
  VersionManager versions{
      VersionManagerOptions{},
      [this](const v1::EnsembleMember& spec) -> absl::StatusOr<std::shared_ptr<Member>> {
        return members.at(spec.name());
      }};
  PredictionEngine engine{limits, admission, decoding, timer, *metrics};
};

TEST_F(PredictionTest, CombinesTheMembersInTheOrderOfTheVersion) {
  Serve();
  const std::vector<std::string> pictures = {Png(), Png(33)};
  ASSERT_OK_AND_ASSIGN(const Prediction answer, Predict(Request(pictures)));
  EXPECT_EQ(answer.probabilities.values, (std::vector<float>{0.5F, 0.5F, 0.5F, 0.5F}));
  EXPECT_THAT(answer.labels, ElementsAre("dog", "dog"));  // the lower index wins a tie
  EXPECT_THAT(answer.members_used, ElementsAre("a", "b", "c"));
  EXPECT_FALSE(answer.degraded);
}

TEST_F(PredictionTest, IsDegradedAndEqualsTheCombinationOfTheNamedMembers) {
  Serve();
  members["c"]->Fail(absl::UnavailableError("gone"));
  const std::vector<std::string> pictures = {Png()};
  ASSERT_OK_AND_ASSIGN(const Prediction answer, Predict(Request(pictures)));
  EXPECT_TRUE(answer.degraded);
  EXPECT_THAT(answer.members_used, ElementsAre("a", "b"));
  EXPECT_THAT(answer.members_failed, ElementsAre("c"));
  EXPECT_EQ(answer.probabilities.values, (std::vector<float>{0.625F, 0.375F}));
}

TEST_F(PredictionTest, AHangingMemberDegradesTheAnswerBeforeTheDeadline) {
  Serve();
  members["a"]->Hold();
  const std::vector<std::string> pictures = {Png()};
  PredictionRequest request = Request(pictures, std::chrono::milliseconds(400));
  const auto deadline = request.deadline;
  ASSERT_OK_AND_ASSIGN(const Prediction answer, Predict(std::move(request)));
  EXPECT_THAT(answer.members_failed, ElementsAre("a"));
  EXPECT_LT(members["b"]->deadlines().back(), deadline);
  members["a"]->Release();
}

TEST_F(PredictionTest, BelowTheMinimumItIsUnavailable) {
  Serve();
  members["a"]->Fail(absl::UnavailableError("gone"));
  members["b"]->Fail(absl::UnavailableError("gone"));
  const std::vector<std::string> pictures = {Png()};
  EXPECT_THAT(Predict(Request(pictures)), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(PredictionTest, AnAnsweredRequestHoldsItsBytesUntilTheLastMemberHasLetGo) {
  Serve();
  members["a"]->copies = 1;
  members["a"]->Hold();
  members["b"]->Fail(absl::UnavailableError("gone"));
  members["c"]->Fail(absl::UnavailableError("gone"));
  const std::vector<std::string> pictures = {Png()};
  EXPECT_THAT(Predict(Request(pictures)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(admission.WaitEmpty(In(kFar)));  // who drains does not wait for a hanging member
  constexpr int64_t kPixels = 16 * 16 * 3;     // prepared once, copied by one member
  EXPECT_EQ(admission.bytes(), static_cast<int64_t>(pictures[0].size()) + 2 * kPixels);
  members["a"]->Release();
  WaitNoBytes();  // whichever member's thread is the last
}

TEST_F(PredictionTest, RequestsUnderWayFinishOnTheVersionTheyBeganWith) {
  Serve({"a"}, 1);
  members["a"]->Hold();
  const std::vector<std::string> pictures = {Png()};
  Caught<absl::StatusOr<Prediction>> answer;
  engine.Predict(Request(pictures), answer.callback());
  members["a"]->WaitAsked(2);  // once for the warm-up
  versions.Offer(MakeVersion({"c"}, 2));
  members["c"]->WaitAsked(1);
  members["a"]->Release();
  ASSERT_OK_AND_ASSIGN(const Prediction old, answer.Get());
  EXPECT_THAT(old.members_used, ElementsAre("a"));
  EXPECT_EQ(old.probabilities.values, (std::vector<float>{0.75F, 0.25F}));
}

TEST_F(PredictionTest, ResizesOncePerDistinctSpecAndSharesTheResult) {
  members["b"] = std::make_shared<FakeMember>(MakeSpec("b", 24));
  v1::EnsembleVersion version = MakeVersion({"a", "b", "c"});
  *version.mutable_members(1) = MakeSpec("b", 24);
  version.set_preprocessing_digest(ensemble::PreprocessingDigest(version));
  versions.Offer(version);
  ASSERT_THAT(versions.WaitServed(In(kFar)), IsOk());
  const std::vector<std::string> pictures = {Png()};
  ASSERT_THAT(Predict(Request(pictures)), IsOk());
  EXPECT_EQ(members["a"]->asked().back(), members["c"]->asked().back());  // one buffer
  EXPECT_EQ(members["b"]->asked().back()->size, 24);
  ASSERT_OK_AND_ASSIGN(const vision::Image image, vision::DecodePicture(pictures[0], 3));
  v1::ImageSpec spec;
  spec.set_size(24);
  spec.set_filter(v1::AREA);
  spec.set_channels(3);
  const vision::Image resized = vision::Resize(image, spec);
  EXPECT_EQ(members["b"]->asked().back()->bytes,
            std::string(resized.pixels.begin(), resized.pixels.end()));
}

TEST_F(PredictionTest, DecodedPixelsAreTreatedLikeTheDecodedPicture) {
  Serve({"a"});
  const std::vector<std::string> pictures = {Png()};
  ASSERT_THAT(Predict(Request(pictures)), IsOk());
  ASSERT_OK_AND_ASSIGN(const vision::Image image, vision::DecodePicture(pictures[0], 3));
  PredictionRequest request = Request({});
  request.pictures.pixels = {reinterpret_cast<const char*>(image.pixels.data()),
                             image.pixels.size()};
  request.pictures.count = 1;
  request.pictures.height = image.height;
  request.pictures.width = image.width;
  ASSERT_THAT(Predict(std::move(request)), IsOk());
  const auto asked = members["a"]->asked();
  EXPECT_EQ(asked[1]->bytes, asked[2]->bytes);
}

TEST_F(PredictionTest, NamesTheFirstPictureThatDoesNotDecode) {
  Serve();
  const std::vector<std::string> pictures = {Png(), "no picture", Png(), ""};
  EXPECT_THAT(Predict(Request(pictures)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("picture 1")));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the process instead

TEST(PreparePicture, WithoutMemoryIsAStatus) {
  v1::EnsembleMember member = MakeSpec("a", 1 << 30);  // squared more than there are addresses
  const std::string pixels(12, 'x');
  Pictures pictures;
  pictures.pixels = pixels;
  pictures.count = 1;
  pictures.height = pictures.width = 2;
  member.mutable_model()->mutable_image()->set_filter(v1::BILINEAR);
  EXPECT_THAT(PreparePicture(pictures, 0, PlanPreparation({&member}), {}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("picture 0")));
}

#endif

TEST_F(PredictionTest, RefusesAnEmptyBatchAndTooManyPictures) {
  Serve();
  EXPECT_THAT(Predict(Request({})), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::vector<std::string> pictures(65, Png());
  EXPECT_THAT(Predict(Request(pictures)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 64")));
}

TEST_F(PredictionTest, ADeadlineAlreadyOverIsUnavailable) {
  Serve();
  const std::vector<std::string> pictures = {Png()};
  EXPECT_THAT(Predict(Request(pictures, -kSoon)), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(PredictionTest, StopsDecodingForAClientThatWentAway) {
  Serve();
  const std::vector<std::string> pictures = {Png()};
  PredictionRequest request = Request(pictures);
  request.cancelled = [] { return true; };
  EXPECT_THAT(Predict(std::move(request)), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(PredictionTest, CutOffEndsWhatWaitsForMembersAndWhatBeginsLater) {
  Serve({"a"});
  members["a"]->Hold();
  const std::vector<std::string> pictures = {Png()};
  Caught<absl::StatusOr<Prediction>> answer;
  engine.Predict(Request(pictures), answer.callback());
  members["a"]->WaitAsked(2);  // once for the warm-up
  EXPECT_FALSE(answer.ready());
  engine.CutOff();
  EXPECT_THAT(answer.Get(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  EXPECT_THAT(Predict(Request(pictures)), StatusIs(absl::StatusCode::kUnavailable));
  members["a"]->Release();  // too late; must do no harm
}

// Whoever decodes a picture reads the request's memory.
TEST_F(PredictionTest, CutOffWaitsForPicturesThatAreBeingDecoded) {
  Serve({"a"});
  const std::vector<std::string> pictures = {Png()};
  std::promise<void> reading;
  std::promise<void> go_on;
  PredictionRequest request = Request(pictures);
  request.cancelled = [&] {
    reading.set_value();
    go_on.get_future().wait();
    return false;
  };
  Caught<absl::StatusOr<Prediction>> answer;
  engine.Predict(std::move(request), answer.callback());
  reading.get_future().wait();
  engine.CutOff();
  EXPECT_FALSE(answer.ready());
  go_on.set_value();
  EXPECT_THAT(answer.Get(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
}

TEST_F(PredictionTest, FindsModelsByNameAndVersion) {
  EXPECT_THAT(FindModel(versions, "ensemble"), StatusIs(absl::StatusCode::kFailedPrecondition));
  Serve({"a", "b"}, 3);
  EXPECT_THAT(FindModel(versions, "ensemble", "3"), IsOk());
  EXPECT_THAT(FindModel(versions, "ensemble", "2"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("version 3")));
  EXPECT_THAT(FindModel(versions, "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("ensemble, a, b")));
  ASSERT_OK_AND_ASSIGN(const ServedModel model, FindModel(versions, "b"));
  EXPECT_THAT(model.members, ElementsAre(1));
  EXPECT_EQ(model.min_members, 1);
}

TEST(AdmissionTest, RefusesWithPushbackWhenFullAndLetsADearRequestInAlone) {
  RequestLimits limits;
  limits.max_queued_bytes = 100;
  Admission admission(limits);
  auto dear = admission.Enter(1, 1'000);
  ASSERT_THAT(dear, IsOk());
  const auto refused = admission.Enter(1, 1);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("overloaded")));
  EXPECT_EQ(PushbackOf(refused.status()), limits.pushback);
  dear->reset();
  EXPECT_THAT(admission.Enter(1, 1), IsOk());
  EXPECT_EQ(admission.bytes(), 0);
}

// A gauge that is set from it must not stick at an older value when two requests end at once.
TEST(AdmissionTest, TellsEachChangeOfItsBytesInOrder) {
  std::vector<int64_t> told;  // unguarded: it is told under the lock
  Admission admission(RequestLimits{}, [&](int64_t bytes) { told.push_back(bytes); });
  auto one = admission.Enter(1, 10);
  auto two = admission.Enter(1, 5);
  one->reset();
  two->reset();
  EXPECT_THAT(told, ElementsAre(10, 15, 5, 0));
  {
    const auto pass = [&] {
      for (int i = 0; i < 1000; ++i) ASSERT_THAT(admission.Enter(1, 1), IsOk());
    };
    std::thread other(pass);
    pass();
    other.join();
  }
  EXPECT_EQ(told.size(), 4 + 4000);
  EXPECT_EQ(told.back(), 0);
}

TEST(AdmissionTest, OfAnAnsweredRequestOnlyTheBytesCount) {
  RequestLimits limits;
  limits.max_queued_bytes = 100;
  limits.max_queued_pictures = 3;
  Admission admission(limits);
  auto answered = admission.Enter(3, 60);
  (*answered)->Answered();
  EXPECT_TRUE(admission.WaitEmpty(In({})));
  EXPECT_THAT(admission.Enter(1, 60), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(admission.Enter(3, 40), IsOk());
  answered->reset();
  EXPECT_THAT(admission.Enter(1, 60), IsOk());
  EXPECT_TRUE(admission.WaitEmpty(In({})));
  EXPECT_EQ(admission.bytes(), 0);
}

TEST(AdmissionTest, CountsPicturesAndClosesForGood) {
  RequestLimits limits;
  limits.max_queued_pictures = 3;
  Admission admission(limits);
  auto two = admission.Enter(2, 1);
  EXPECT_THAT(admission.Enter(2, 1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(admission.Enter(1, 1), IsOk());
  EXPECT_FALSE(admission.WaitEmpty(In(std::chrono::milliseconds(1))));
  admission.Close();
  two->reset();
  EXPECT_TRUE(admission.WaitEmpty(In(kFar)));
  const auto refused = admission.Enter(1, 1);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  EXPECT_EQ(PushbackOf(refused.status()), std::nullopt);
}

TEST(DeadlineTimerTest, CallsInTheOrderOfTimeAndNotWhatWasCancelled) {
  DeadlineTimer timer;
  Caught<std::vector<int>> all;
  std::vector<int> calls;
  const auto base = In(kSoon);
  timer.Schedule(base + std::chrono::milliseconds(2), [&] {
    calls.push_back(2);
    all.callback()(calls);
  });
  timer.Schedule(base, [&] { calls.push_back(1); });
  EXPECT_TRUE(timer.Cancel(
      timer.Schedule(base + std::chrono::milliseconds(1), [&] { calls.push_back(9); })));
  EXPECT_THAT(all.Get(), ElementsAre(1, 2));
}

TEST(DeadlineTimerTest, StopWaitsForWhatRunsAndDropsTheRest) {
  DeadlineTimer timer;
  std::promise<void> running;
  std::promise<void> stopped;
  bool left_behind = false;
  timer.Schedule(In({}), [&] {
    running.set_value();
    left_behind = stopped.get_future().wait_for(kSoon) == std::future_status::ready;
  });
  const auto dropped = std::make_shared<int>();
  timer.Schedule(In(kFar), [dropped] {});
  running.get_future().wait();
  timer.Stop();
  stopped.set_value();
  EXPECT_FALSE(left_behind);
  EXPECT_EQ(dropped.use_count(), 1);
  timer.Stop();
}

}  // namespace
}  // namespace atelier::aggregator
