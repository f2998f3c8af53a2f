// What the coordinator remembers. SQLite is the embedded default; the interface is row-level, so
// that another database implements the same.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "atelier/v1/coordinator.pb.h"
#include "atelier/v1/registry.pb.h"
#include "services/coordinator/task_key.h"

namespace atelier::coordinator {

struct RunRecord {
  v1::Run run;  // without tasks
  std::vector<v1::Task> tasks;
};

struct CheckpointRow {
  int64_t sequence = 0;
  std::string digest;
  std::string best_weights_digest;
  // Where training goes on from it; epoch -1: written before this was kept.
  v1::DataCursor cursor;
};

struct RequestRow {
  std::string payload_digest;
  std::string response;
};

// Valid only inside Store::Transact.
class Transaction {
 public:
  virtual ~Transaction() = default;

  virtual absl::StatusOr<RunRecord> GetRun(const std::string& run_id) = 0;  // NotFound
  virtual absl::Status PutRun(const RunRecord& record) = 0;
  virtual absl::Status PutTask(const std::string& run_id, int ordinal, const v1::Task& task) = 0;
  virtual absl::StatusOr<std::vector<v1::Run>> ListRuns() = 0;  // newest first

  // Newest first.
  virtual absl::StatusOr<std::vector<CheckpointRow>> ListCheckpoints(const TaskKey& key) = 0;
  virtual absl::Status AddCheckpoint(const TaskKey& key, const CheckpointRow& row) = 0;
  virtual absl::Status RemoveCheckpoint(const TaskKey& key, int64_t sequence) = 0;
  // The ledger (P1). FailedPrecondition when a step of the task was applied before.
  virtual absl::Status AddAppliedStep(const TaskKey& key, int64_t lease_epoch,
                                      const v1::AppliedStep& step) = 0;
  // Takes the steps from `cursor` on out of the ledger: their effect is lost with a checkpoint.
  virtual absl::Status RemoveAppliedFrom(const TaskKey& key, const v1::DataCursor& cursor) = 0;

  // Sets and returns the event's number, 1 greater than the run's last.
  virtual absl::StatusOr<int64_t> AppendEvent(const std::string& run_id, v1::RunEvent event) = 0;
  virtual absl::StatusOr<std::vector<v1::RunEvent>> EventsAfter(const std::string& run_id,
                                                                int64_t number, int limit) = 0;

  virtual absl::Status PutEnsemble(const v1::EnsembleVersion& ensemble) = 0;
  virtual absl::StatusOr<std::vector<v1::EnsembleVersion>> ListEnsembles(
      const std::string& name) = 0;  // "" lists all; newest first
  virtual absl::Status SetPromoted(const std::string& name, int version, int64_t unix_ms) = 0;
  struct Promoted {
    std::string name;
    int version = 0;
    int64_t unix_ms = 0;
  };
  // "": the name promoted last. Nothing when there is none.
  virtual absl::StatusOr<std::optional<Promoted>> GetPromoted(const std::string& name) = 0;
  // Versions of `name` that SetPromoted ever named.
  virtual absl::StatusOr<std::set<int>> PromotedOnce(const std::string& name) = 0;

  // Who needs an artifact. An artifact without reference may be deleted.
  virtual absl::Status AddReference(const std::string& digest, const std::string& owner) = 0;
  virtual absl::Status RemoveReferences(const std::string& owner) = 0;
  virtual absl::StatusOr<bool> IsReferenced(const std::string& digest) = 0;
  // Whether anything is.
  virtual absl::StatusOr<bool> HasReferences() = 0;

  // When a coordinator began to work with this database.
  virtual absl::Status AddStart(int64_t unix_ms) = 0;
  // The last start at or before `unix_ms`; nothing when there was none so early.
  virtual absl::StatusOr<std::optional<int64_t>> LastStart(int64_t unix_ms) = 0;
  virtual absl::Status RemoveStartsBefore(int64_t unix_ms) = 0;

  virtual absl::StatusOr<std::optional<RequestRow>> FindRequest(const std::string& id) = 0;
  virtual absl::Status PutRequest(const std::string& id, const RequestRow& row) = 0;
};

// Thread-safe: transactions run one after the other.
class Store {
 public:
  virtual ~Store() = default;
  // Commits when `body` returns OK, else rolls back and returns its error. Durable when it returns
  // OK. ResourceExhausted: disk full, InvalidArgument: a row too large for the database; nothing
  // was changed. DataLoss: the database failed to write or is damaged; the process must end and
  // recover at restart (`on_fatal` was called).
  virtual absl::Status Transact(const std::function<absl::Status(Transaction&)>& body) = 0;
};

// WAL, synchronous FULL, busy_timeout 5 s, foreign keys. Makes the file.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(
    const std::filesystem::path& file, std::function<void(const std::string& why)> on_fatal);

}  // namespace atelier::coordinator
