// Carries runs out: takes calls and the passing of time, lets the policy decide, and applies every
// change in one transaction before anyone is told. The one owner of runs, leases and fleet.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/artifacts/artifact_store.h"
#include "common/base/clock.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/fleet.h"
#include "services/coordinator/notifier.h"
#include "services/coordinator/run_change.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {

struct ExecutorOptions {
  std::chrono::milliseconds lease_ttl{15'000};
  std::chrono::milliseconds data_service_ttl{15'000};
};

// Topic of the notifier for promotions; a run's topic is its id.
inline constexpr char kPromotionsTopic[] = "/promotions";
// Topic that only the notifier's Close wakes.
inline constexpr char kDrainTopic[] = "/drain";

// Thread-safe. Every mutating call is durable when it returns OK.
class RunExecutor {
 public:
  // Loads running runs; each lease found gets a fresh time to live, so that a trainer that is still
  // at it goes on as the same attempt. `store`, `artifacts`, `clock` must outlive the executor.
  static absl::StatusOr<std::unique_ptr<RunExecutor>> Create(const ExecutorOptions& options,
                                                             Store& store,
                                                             artifacts::ArtifactStore& artifacts,
                                                             const Clock& clock);

  // Runs. `plan` as CompletePlan and BindDataset left it.
  absl::StatusOr<std::string> Submit(const std::string& request_id, const v1::RunPlan& asked,
                                     const v1::RunPlan& plan, const v1::DatasetSummary& dataset);
  // The response to an earlier Submit of this id, if there was one.
  absl::StatusOr<std::string> FindSubmitted(const std::string& request_id,
                                            const v1::RunPlan& asked);
  absl::StatusOr<v1::Run> Cancel(const std::string& run_id, const std::string& reason);
  absl::StatusOr<v1::Run> Resume(const std::string& run_id);
  absl::StatusOr<v1::Run> Get(const std::string& run_id);
  absl::StatusOr<v1::ListRunsResponse> List();

  struct News {
    std::vector<v1::RunEvent> events;        // numbered, in order
    std::vector<v1::TaskProgress> progress;  // current, newer than `progress_seen`
    int64_t progress_seen = 0;
    bool ended = false;  // no further event will come
  };
  absl::StatusOr<News> NewsAfter(const std::string& run_id, int64_t event, int64_t progress_seen);

  // Fleet. Connect returns the session number that later calls of this stream carry.
  int64_t Connect(const v1::TrainerHello& hello, SendToTrainer send);
  // Any message of a trainer says that it is alive.
  void OnHeard(const std::string& trainer);
  void OnProgress(const std::string& trainer, const v1::TaskProgress& progress);
  void OnDraining(const std::string& trainer);
  void Disconnect(const std::string& trainer, int64_t session);
  absl::Status CommitCheckpoint(const v1::CommitCheckpointRequest& request);
  absl::Status FinishTask(const v1::FinishTaskRequest& request);
  void RegisterDataService(const v1::RegisterDataServiceRequest& request);
  v1::ListFleetResponse ListFleet();
  std::vector<std::string> DataAddresses();

  // Registry.
  absl::StatusOr<v1::EnsembleVersion> Publish(const v1::PublishEnsembleRequest& request);
  absl::StatusOr<v1::PromotedEnsemble> Promote(const v1::PromoteEnsembleRequest& request);
  absl::StatusOr<v1::EnsembleVersion> GetEnsemble(const std::string& name, int version);
  absl::StatusOr<v1::ListEnsemblesResponse> ListEnsembles(const std::string& name);
  absl::StatusOr<v1::PromotedEnsemble> GetPromoted(const std::string& name);

  // Decides and applies what time and fleet ask for; returns when to call next. Called by the
  // ticker, and by tests.
  SteadyTime Tick();
  // Called (without lock) whenever Tick should run soon.
  void SetKick(std::function<void()> kick);

  const std::shared_ptr<Notifier>& notifier() const { return notifier_; }
  const ExecutorOptions& options() const { return options_; }

  struct Counts {
    std::map<std::string, int> tasks;  // state -> number, of runs that go on
    int trainers = 0;
    int data_services = 0;
    int64_t leases_expired = 0;
    int64_t checkpoints = 0;
  };
  Counts GetCounts();

 private:
  struct LiveProgress {
    v1::TaskProgress progress;
    int64_t version = 0;
  };
  RunExecutor(const ExecutorOptions& options, Store& store, artifacts::ArtifactStore& artifacts,
              const Clock& clock);

  absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Mutate(const std::string& run_id,
                      const std::function<absl::Status(RunChange&, Transaction&)>& body)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Idempotent(Transaction& transaction, const std::string& request_id,
                          const google::protobuf::MessageLite& payload, std::string* response,
                          const std::function<absl::Status()>& effect);
  absl::StatusOr<v1::Task*> FencedTask(RunChange& change, const v1::Lease& lease)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The last news of this lease that are durable.
  int64_t NewsStored(const v1::Lease& lease) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StoreNews(const v1::TaskProgress& progress) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckStored(const std::vector<std::string>& digests);
  absl::Status ApplyCheckpoint(RunChange& change, Transaction& transaction,
                               const v1::CommitCheckpointRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ApplyFinish(RunChange& change, Transaction& transaction,
                           const v1::FinishTaskRequest& request,
                           const std::set<std::string>& damaged)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ApplyDone(RunChange& change, Transaction& transaction,
                         const v1::FinishTaskRequest& request, v1::Task& task, int64_t now);
  absl::Status ApplyFailure(RunChange& change, Transaction& transaction,
                            const v1::FinishTaskRequest& request,
                            const std::set<std::string>& damaged, v1::Task& task, int64_t now);

  Snapshot TakeSnapshot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const Action& action) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where an attempt that ends now got to.
  v1::DataCursor HowFar(const TaskKey& key, const v1::Task& task, const v1::Attempt& attempt) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EndAttempt(const TaskKey& key, int64_t lease_epoch, v1::AttemptEnd end,
                          const std::string& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Grant(const GrantLease& grant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One round of Tick. False: there was nothing to decide. `finished`: runs to Finish; `status`:
  // the error of the last decision that could not be applied.
  bool ApplyDecisions(std::vector<RunRecord>& finished, absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Publishes a run whose tasks are done, unless it became another while it was scored. That reads
  // the members' probabilities: without the lock, which lease renewals need.
  absl::Status Finish(const RunRecord& record) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CloseRun(const std::string& run_id, v1::RunState state, const std::string& text)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsDamaged(const std::string& digest);
  // What is damaged or gone of what a task that fails so began from, and could go back to. Reads
  // whole checkpoints: without the lock, which lease renewals need.
  std::set<std::string> FindDamage(const v1::FinishTaskRequest& request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // P5, after a failure: when what the task began from is among `damaged`, it goes back to the
  // newest checkpoint that is not, else to the start, and the failure is not final; when it began
  // from the weights of the stage before, that stage does.
  absl::Status LeaveDamage(RunChange& change, Transaction& transaction, v1::Task& task,
                           const std::set<std::string>& damaged, int64_t now);
  absl::Status DropDamagedCheckpoints(RunChange& change, Transaction& transaction, v1::Task& task,
                                      const std::set<std::string>& damaged, int64_t now);
  absl::Status StartingPoint(const RunRecord& record, const v1::Task& task,
                             v1::Assignment& assignment);
  absl::StatusOr<v1::Run> RunWithTasks(const std::string& run_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Kick();

  const ExecutorOptions options_;
  Store& store_;
  artifacts::ArtifactStore& artifacts_;
  const Clock& clock_;
  const std::shared_ptr<Notifier> notifier_ = std::make_shared<Notifier>();

  Mutex kick_mutex_;
  std::function<void()> kick_ ABSL_GUARDED_BY(kick_mutex_);

  Mutex mutex_;
  Fleet fleet_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, RunRecord> running_ ABSL_GUARDED_BY(mutex_);  // runs that go on
  std::map<TaskKey, LiveProgress> progress_ ABSL_GUARDED_BY(mutex_);
  int64_t progress_version_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_session_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t leases_expired_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t checkpoints_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace atelier::coordinator
