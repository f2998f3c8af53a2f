#include "services/aggregator/remote_member.h"

#include <gmock/gmock.h>

#include <deque>
#include <future>
#include <map>
#include <thread>

#include "services/aggregator/batch_split.h"
#include "services/aggregator/trainer_choice.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers from a script by address: OK or a status; "hang" keeps the request.
struct Fleet {
  Mutex mutex;
  std::map<std::string, absl::Status> script;
  std::vector<std::string> asked;
  std::vector<v1::PredictRequest> requests;
};

class ScriptedClient final : public trainer::PredictClient {
 public:
  ScriptedClient(Fleet& fleet, std::string address) : fleet_(fleet), address_(std::move(address)) {}
  void Predict(v1::PredictRequest request, std::chrono::steady_clock::time_point deadline,
               Done done) override {
    absl::Status status;
    {
      MutexLock lock(fleet_.mutex);
      fleet_.asked.push_back(address_);
      fleet_.requests.push_back(request);
      status = fleet_.script[address_];
    }
    EXPECT_GT(deadline, std::chrono::steady_clock::now());
    if (status.ok()) {
      done(MakeMatrix(request.size(), {0.5F, 0.5F}));
    } else {
      done(status);
    }
  }

 private:
  Fleet& fleet_;
  const std::string address_;
};

v1::FleetTrainer MakeTrainer(const std::string& id, std::vector<std::string> backbones = {}) {
  v1::FleetTrainer trainer;
  trainer.set_trainer_id(id);
  trainer.set_predict_address(id + ":7072");
  *trainer.mutable_backbones() = {backbones.begin(), backbones.end()};
  return trainer;
}

class RemoteMemberTest : public ::testing::Test {
 protected:
  void Start(const std::vector<v1::FleetTrainer>& trainers) {
    for (const auto& trainer : trainers) *list.add_trainers() = trainer;
    directory = std::make_unique<TrainerDirectory>(
        [this] { return absl::StatusOr<v1::ListFleetResponse>(list); },
        [this](const std::string& address) {
          return std::make_shared<ScriptedClient>(fleet, address);
        });
    ASSERT_TRUE(directory->WaitAsked(In(kFar)));
  }
  absl::StatusOr<v1::Matrix> Predict(std::shared_ptr<Member> fallback = nullptr) {
    auto member = MakeRemoteMember(MakeSpec("a"), *directory, std::move(fallback));
    Caught<absl::StatusOr<v1::Matrix>> answer;
    member->Predict(MakePixels(3), In(kFar), answer.callback());
    return answer.Get();
  }

  v1::ListFleetResponse list;
  Fleet fleet;
  std::unique_ptr<TrainerDirectory> directory;
};

TEST_F(RemoteMemberTest, AsksTheTrainerThatHoldsTheBackbone) {
  Start({MakeTrainer("x", {"xception"}), MakeTrainer("t", {"tiny_cnn"})});
  ASSERT_OK_AND_ASSIGN(const v1::Matrix answer, Predict());
  EXPECT_EQ(answer.rows(), 3);
  EXPECT_THAT(fleet.asked, ElementsAre("t:7072"));
  EXPECT_EQ(fleet.requests[0].weights_digest(), MakeSpec("a").weights_digest());
  EXPECT_EQ(fleet.requests[0].pixels(), MakePixels(3)->bytes);
}

TEST_F(RemoteMemberTest, SaysHowOftenItCopiesThePictures) {
  Start({});
  const auto remote = MakeRemoteMember(MakeSpec("a"), *directory, nullptr);
  EXPECT_EQ(SplitBatches(remote, 100)->Copies(100), 1);
  EXPECT_EQ(SplitBatches(remote, 100)->Copies(101), 2);
  EXPECT_EQ(SplitBatches(std::make_shared<FakeMember>(MakeSpec("a")), 100)->Copies(100), 0);
}

TEST_F(RemoteMemberTest, AsksTheNextTrainerWhenOneFails) {
  Start({MakeTrainer("one"), MakeTrainer("two")});
  fleet.script["one:7072"] = fleet.script["two:7072"] = absl::UnavailableError("gone");
  EXPECT_THAT(Predict(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gone")));
  EXPECT_EQ(fleet.asked.size(), 2);
  fleet.script[fleet.asked[1]] = absl::OkStatus();
  EXPECT_THAT(Predict(), IsOk());
}

TEST_F(RemoteMemberTest, AsksATrainerWhoseStreamBrokeOnceMoreAfterTheOthers) {
  Start({MakeTrainer("one"), MakeTrainer("two")});
  const auto order = directory->Candidates("tiny_cnn", MakeSpec("a").weights_digest()).addresses;
  fleet.script[order[0]] = absl::AbortedError("the connection came of age");
  fleet.script[order[1]] = absl::UnavailableError("gone");
  EXPECT_THAT(Predict(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(fleet.asked, ElementsAre(order[0], order[1], order[0]));
}

TEST_F(RemoteMemberTest, PredictsInProcessWhenNoTrainerAnswers) {
  Start({MakeTrainer("one")});
  fleet.script["one:7072"] = absl::UnavailableError("gone");
  auto local = std::make_shared<FakeMember>(MakeSpec("a"));
  EXPECT_THAT(Predict(local), IsOk());
  EXPECT_EQ(local->asked().size(), 1);
}

TEST_F(RemoteMemberTest, KeepsALastingRefusalWhenTheNextTrainerIsMerelyGone) {
  Start({MakeTrainer("one"), MakeTrainer("two")});
  const auto order = directory->Candidates("tiny_cnn", MakeSpec("a").weights_digest()).addresses;
  fleet.script[order[0]] = absl::FailedPreconditionError("head/dense/kernel does not fit");
  fleet.script[order[1]] = absl::UnavailableError("gone");
  EXPECT_THAT(Predict(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("head/dense")));
}

TEST_F(RemoteMemberTest, SaysSoWhenNobodyHoldsTheBackbone) {
  Start({MakeTrainer("x", {"xception"})});
  EXPECT_THAT(Predict(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("tiny_cnn")));
}

TEST_F(RemoteMemberTest, AsksASilentTrainerLast) {
  Start({MakeTrainer("one"), MakeTrainer("two")});
  const auto order = directory->Candidates("tiny_cnn", MakeSpec("a").weights_digest()).addresses;
  fleet.script[order[0]] = absl::DeadlineExceededError("silence");
  EXPECT_THAT(Predict(), IsOk());
  EXPECT_THAT(fleet.asked, ElementsAre(order[0], order[1]));
  fleet.asked.clear();
  EXPECT_THAT(Predict(), IsOk());
  EXPECT_THAT(fleet.asked, ElementsAre(order[1]));
  // It is still there for when nobody else answers; an answer clears it.
  fleet.script[order[0]] = absl::OkStatus();
  fleet.script[order[1]] = absl::UnavailableError("gone");
  fleet.asked.clear();
  EXPECT_THAT(Predict(), IsOk());
  EXPECT_THAT(fleet.asked, ElementsAre(order[1], order[0]));
  fleet.asked.clear();
  EXPECT_THAT(Predict(), IsOk());
  EXPECT_THAT(fleet.asked, ElementsAre(order[0]));
}

TEST_F(RemoteMemberTest, AsksASilentTrainerNotAtAllWhenItCanPredictInProcess) {
  Start({MakeTrainer("one")});
  fleet.script["one:7072"] = absl::DeadlineExceededError("silence");
  auto local = std::make_shared<FakeMember>(MakeSpec("a"));
  EXPECT_THAT(Predict(local), IsOk());
  EXPECT_THAT(Predict(local), IsOk());
  EXPECT_THAT(fleet.asked, ElementsAre("one:7072"));
  EXPECT_EQ(local->asked().size(), 2);
}

TEST_F(RemoteMemberTest, AsksASilentTrainerAgainWhenItIsTheOnlyOne) {
  Start({MakeTrainer("one")});
  fleet.script["one:7072"] = absl::DeadlineExceededError("silence");
  EXPECT_THAT(Predict(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  fleet.script["one:7072"] = absl::OkStatus();
  EXPECT_THAT(Predict(), IsOk());
}

// Says who destroyed it.
class MortalClient final : public trainer::PredictClient {
 public:
  explicit MortalClient(std::promise<std::thread::id>& destroyed) : destroyed_(destroyed) {}
  ~MortalClient() override { destroyed_.set_value(std::this_thread::get_id()); }
  void Predict(v1::PredictRequest, std::chrono::steady_clock::time_point, Done) override {}

 private:
  std::promise<std::thread::id>& destroyed_;
};

// Whoever borrows a client may be in that client's own callback, which its destructor waits for.
TEST(TrainerDirectoryTest, TheBorrowerOfAClientThatLeavesTheListDoesNotDestroyIt) {
  Mutex mutex;
  CondVar changed;
  int lists = 0;
  std::promise<std::thread::id> destroyed;
  TrainerDirectoryOptions options;
  options.poll = std::chrono::milliseconds(1);
  options.linger = std::chrono::milliseconds(-1);
  TrainerDirectory directory(
      [&]() -> absl::StatusOr<v1::ListFleetResponse> {
        MutexLock lock(mutex);
        ++lists;
        changed.NotifyAll();
        return v1::ListFleetResponse();
      },
      [&](const std::string&) { return std::make_shared<MortalClient>(destroyed); }, options);
  std::shared_ptr<trainer::PredictClient> lent = directory.Client("one:7072");
  {
    MutexLock lock(mutex);
    const int before = lists;
    changed.Wait(mutex, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return lists >= before + 3; });
  }
  lent.reset();
  EXPECT_NE(destroyed.get_future().get(), std::this_thread::get_id());
}

TEST(TrainerDirectoryTest, WaitsForClientsThatAreLent) {
  std::promise<std::thread::id> destroyed;
  auto directory = std::make_unique<TrainerDirectory>(
      [] { return absl::StatusOr<v1::ListFleetResponse>(v1::ListFleetResponse()); },
      [&](const std::string&) { return std::make_shared<MortalClient>(destroyed); });
  std::shared_ptr<trainer::PredictClient> lent = directory->Client("one:7072");
  auto gone = std::async(std::launch::async, [&] { directory.reset(); });
  EXPECT_EQ(gone.wait_for(kSoon), std::future_status::timeout);
  lent.reset();
  gone.get();
  EXPECT_NE(destroyed.get_future().get(), std::this_thread::get_id());
}

TEST(ChooseTrainersTest, LeavesOutDrainingOnesAndPutsBusyOnesBehindIdleOnes) {
  v1::ListFleetResponse fleet;
  for (const char* id : {"a", "b", "c"}) *fleet.add_trainers() = MakeTrainer(id);
  fleet.mutable_trainers(0)->mutable_current()->set_run_id("r");
  fleet.mutable_trainers(1)->set_draining(true);
  EXPECT_THAT(ChooseTrainers(fleet, "tiny_cnn", "d", {}), ElementsAre("c:7072", "a:7072"));
  EXPECT_THAT(ChooseTrainers(fleet, "tiny_cnn", "d", {"c:7072"}), ElementsAre("a:7072", "c:7072"));
}

TEST(ChooseTrainersTest, SendsAMemberToTheSameTrainerWhateverTheListsOrder) {
  v1::ListFleetResponse fleet;
  v1::ListFleetResponse turned;
  for (const char* id : {"a", "b", "c", "d"}) *fleet.add_trainers() = MakeTrainer(id);
  for (const char* id : {"d", "c", "b", "a"}) *turned.add_trainers() = MakeTrainer(id);
  for (const char* digest : {"1", "2", "3", "4", "5"}) {
    EXPECT_EQ(ChooseTrainers(fleet, "x", digest, {}), ChooseTrainers(turned, "x", digest, {}));
  }
  EXPECT_THAT(ChooseTrainers({}, "x", "1", {}), IsEmpty());
}

}  // namespace
}  // namespace atelier::aggregator
