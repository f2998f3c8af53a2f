// A RunExecutor on a real database in a temporary folder, with a clock that only the test moves,
// artifacts in memory, and trainers that keep what they are sent. The test plays ticker and
// trainers.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/base/sha256.h"
#include "common/ensemble/npy.h"
#include "services/coordinator/plan.h"
#include "services/coordinator/run_executor.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/memory_store.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/coordinator/plans.h"

namespace atelier::coordinator {

inline v1::DataCursor MakeCursor(int epoch, int step) {
  v1::DataCursor cursor;
  cursor.set_epoch(epoch);
  cursor.set_step(step);
  return cursor;
}

// The database; refuses to commit while `full` is set, as a full disk does, and once with
// `refuse_once`.
class StoreThatFills final : public Store {
 public:
  explicit StoreThatFills(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  absl::Status Transact(const std::function<absl::Status(Transaction&)>& body) override {
    return store_->Transact([&](Transaction& transaction) -> absl::Status {
      ATELIER_RETURN_IF_ERROR(body(transaction));
      if (!refuse_once.ok()) return std::exchange(refuse_once, absl::OkStatus());
      return full ? absl::ResourceExhaustedError("disk full") : absl::OkStatus();
    });
  }
  bool full = false;
  absl::Status refuse_once;

 private:
  const std::unique_ptr<Store> store_;
};

class ExecutorTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kTtl{15};

  ExecutorTest() {
    Restart();
    RegisterData();
  }

  // A new process on the same state. Trainers are no longer connected.
  void Restart() {
    executor_.reset();
    store_.reset();
    auto store =
        OpenSqliteStore(dir_.path() / "state.db", [](const std::string& why) { FAIL() << why; });
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = std::make_unique<StoreThatFills>(*std::move(store));
    ExecutorOptions options;
    options.lease_ttl = kTtl;
    options.data_service_ttl = std::chrono::hours(1000);
    auto executor = RunExecutor::Create(options, *store_, *artifacts_, clock_);
    ASSERT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
  }
  void RegisterData() {
    v1::RegisterDataServiceRequest request;
    request.set_id("data");
    request.set_address("data:7071");
    executor_->RegisterDataService(request);
  }

  // ---- the trainers' side
  void Connect(const std::string& trainer, const v1::Lease* current = nullptr) {
    v1::TrainerHello hello;
    hello.set_trainer_id(trainer);
    if (current != nullptr) *hello.mutable_current() = *current;
    auto& inbox = inboxes_[trainer];
    inbox.clear();
    sessions_[trainer] = executor_->Connect(
        hello, [&inbox](const v1::CoordinatorMessage& message) { inbox.push_back(message); });
  }
  // The next assignment sent to `trainer`; other messages before it are dropped.
  std::optional<v1::Assignment> Assigned(const std::string& trainer) {
    auto& inbox = inboxes_[trainer];
    while (!inbox.empty()) {
      const v1::CoordinatorMessage message = inbox.front();
      inbox.pop_front();
      if (message.has_assignment()) return message.assignment();
    }
    return std::nullopt;
  }
  bool WasCancelled(const std::string& trainer, const v1::Lease& lease) {
    for (const v1::CoordinatorMessage& message : inboxes_[trainer]) {
      if (message.has_cancel() &&
          message.cancel().lease().SerializeAsString() == lease.SerializeAsString()) {
        return true;
      }
    }
    return false;
  }
  void Progress(const std::string& trainer, const v1::Lease& lease, int epoch = 0, int step = 0) {
    v1::TaskProgress progress;
    *progress.mutable_lease() = lease;
    *progress.mutable_cursor() = MakeCursor(epoch, step);
    executor_->OnProgress(trainer, progress);
  }

  v1::CommitCheckpointRequest MakeCheckpoint(const v1::Lease& lease, int epoch, int step,
                                             const std::string& bytes = "") {
    v1::CommitCheckpointRequest request;
    request.set_request_id(NewId());
    *request.mutable_lease() = lease;
    *request.mutable_cursor() = MakeCursor(epoch, step);
    request.set_digest(Put(bytes.empty() ? "checkpoint " + request.request_id() : bytes));
    return request;
  }
  // Commits one whose ledger holds the steps of epoch 0 from `first` to before `step`.
  std::string Commit(const v1::Lease& lease, int first, int step) {
    v1::CommitCheckpointRequest request = MakeCheckpoint(lease, 0, step);
    for (int i = first; i < step; ++i) request.add_applied()->set_step(i);
    EXPECT_THAT(executor_->CommitCheckpoint(request), atelier::testing::IsOk());
    return request.digest();
  }
  v1::FinishTaskRequest MakeFinish(const v1::Lease& lease, v1::FinishTaskRequest::End end) {
    v1::FinishTaskRequest request;
    request.set_request_id(NewId());
    *request.mutable_lease() = lease;
    request.set_end(end);
    return request;
  }
  v1::FinishTaskRequest MakeFailure(const v1::Lease& lease, const std::string& error,
                                    bool retryable) {
    v1::FinishTaskRequest request = MakeFinish(lease, v1::FinishTaskRequest::FAILED);
    request.set_error(error);
    request.set_retryable(retryable);
    return request;
  }
  // Done, with two validation pictures of classes 0 and 1, which get `right` as their probability.
  v1::FinishTaskRequest MakeDone(const v1::Lease& lease, double val_loss, float right = 0.75F) {
    v1::FinishTaskRequest request = MakeFinish(lease, v1::FinishTaskRequest::DONE);
    v1::TaskResult& result = *request.mutable_result();
    result.set_weights_digest(Put("weights " + lease.member() + "/" + lease.stage()));
    result.set_final_weights_digest(result.weights_digest());
    result.set_validation_probabilities_digest(
        Put(ensemble::ToNpy({2, 2, {right, 1 - right, 1 - right, right}})));
    result.set_validation_labels_digest(Put(ensemble::ToNpy(std::vector<int>{0, 1})));
    result.set_validation_loss(val_loss);
    return request;
  }

  // ---- runs
  std::string Submit(const v1::RunPlan& asked) {
    const v1::RunPlan plan = *BindDataset(*CompletePlan(asked), MakeSummary());
    auto run = executor_->Submit(NewId(), asked, plan, MakeSummary());
    EXPECT_TRUE(run.ok()) << run.status();
    return run.value_or("");
  }
  // One member "a" with the stage "train", on trainer t1.
  v1::Lease SubmitAndGrant(const v1::RunPlan& plan = MakePlan({"a"}, {"train"})) {
    Connect("t1");
    run_id_ = Submit(plan);
    executor_->Tick();
    auto assignment = Assigned("t1");
    EXPECT_TRUE(assignment.has_value());
    return assignment.value_or(v1::Assignment()).lease();
  }
  // Grants and finishes task after task on trainer t1 until there is none.
  void FinishAll(const std::function<v1::FinishTaskRequest(const v1::Lease&)>& finish) {
    executor_->Tick();
    while (auto assignment = Assigned("t1")) {
      ASSERT_THAT(executor_->FinishTask(finish(assignment->lease())), atelier::testing::IsOk());
      executor_->OnHeard("t1");
      executor_->Tick();
    }
  }
  v1::Run GetRun(const std::string& id = "") { return *executor_->Get(id.empty() ? run_id_ : id); }
  v1::Task GetTask(int index = 0) { return GetRun().tasks(index); }
  std::string State() {
    v1::Run run = GetRun();
    return run.SerializeAsString();
  }
  // The trainers called are alive, time passes, the ticker runs.
  void Pass(std::chrono::nanoseconds time, const std::vector<std::string>& alive = {}) {
    clock_.Advance(time);
    for (const std::string& trainer : alive) executor_->OnHeard(trainer);
    executor_->Tick();
  }
  std::string Put(const std::string& bytes) { return *artifacts_->Put(bytes); }
  bool IsStored(const std::string& digest) { return artifacts_->Size(digest).ok(); }
  std::string NewId() { return "id-" + std::to_string(++last_id_); }

  atelier::testing::TempDir dir_;
  atelier::testing::FakeClock clock_;
  std::unique_ptr<atelier::testing::MemoryStore> artifacts_ =
      std::make_unique<atelier::testing::MemoryStore>();
  std::unique_ptr<StoreThatFills> store_;
  std::map<std::string, std::deque<v1::CoordinatorMessage>> inboxes_;
  std::map<std::string, int64_t> sessions_;
  std::unique_ptr<RunExecutor> executor_;
  std::string run_id_;
  int last_id_ = 0;
};

}  // namespace atelier::coordinator
