#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/schema_sqlite.h"
#include "services/coordinator/store.h"

namespace atelier::coordinator {
namespace {

constexpr int kBusyTimeoutMs = 5'000;

absl::Status Unreadable(std::string_view what) {
  return absl::DataLossError(absl::StrCat("the stored ", std::string(what), " cannot be read"));
}

std::string Blob(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString();
}

template <typename Message>
absl::StatusOr<Message> FromBlob(const SQLite::Column& column, std::string_view what) {
  Message message;
  if (!message.ParseFromArray(column.getBlob(), column.getBytes())) return Unreadable(what);
  return message;
}

class SqliteTransaction final : public Transaction {
 public:
  explicit SqliteTransaction(SQLite::Database& db) : db_(db) {}

  absl::StatusOr<RunRecord> GetRun(const std::string& run_id) override {
    RunRecord record;
    {
      SQLite::Statement query = Prepare("SELECT run FROM runs WHERE run_id = ?", run_id);
      if (!query.executeStep()) return absl::NotFoundError("no run " + run_id);
      ATELIER_ASSIGN_OR_RETURN(record.run, FromBlob<v1::Run>(query.getColumn(0), "run"));
    }
    SQLite::Statement query =
        Prepare("SELECT task FROM tasks WHERE run_id = ? ORDER BY ordinal", run_id);
    while (query.executeStep()) {
      ATELIER_ASSIGN_OR_RETURN(v1::Task task, FromBlob<v1::Task>(query.getColumn(0), "task"));
      record.tasks.push_back(std::move(task));
    }
    return record;
  }

  absl::Status PutRun(const RunRecord& record) override {
    const v1::Run& run = record.run;
    SQLite::Statement statement(db_,
                                "INSERT INTO runs VALUES(?, ?, ?) "
                                "ON CONFLICT(run_id) DO UPDATE SET run = excluded.run");
    statement.bind(1, run.run_id());
    statement.bind(2, static_cast<int64_t>(run.created_unix_ms()));
    BindBlob(statement, 3, Blob(run));
    statement.exec();
    return absl::OkStatus();
  }

  absl::Status PutTask(const std::string& run_id, int ordinal, const v1::Task& task) override {
    SQLite::Statement statement(db_,
                                "INSERT INTO tasks VALUES(?, ?, ?) "
                                "ON CONFLICT(run_id, ordinal) DO UPDATE SET task = excluded.task");
    statement.bind(1, run_id);
    statement.bind(2, ordinal);
    BindBlob(statement, 3, Blob(task));
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<v1::Run>> ListRuns() override {
    std::vector<v1::Run> runs;
    SQLite::Statement query(db_, "SELECT run FROM runs ORDER BY created DESC, run_id DESC");
    while (query.executeStep()) {
      ATELIER_ASSIGN_OR_RETURN(v1::Run run, FromBlob<v1::Run>(query.getColumn(0), "run"));
      runs.push_back(std::move(run));
    }
    return runs;
  }

  absl::StatusOr<std::vector<CheckpointRow>> ListCheckpoints(const TaskKey& key) override {
    std::vector<CheckpointRow> rows;
    SQLite::Statement query = Prepare(
        "SELECT sequence, digest, best_weights, epoch, step FROM checkpoints "
        "WHERE run_id = ? AND member = ? AND stage = ? ORDER BY sequence DESC",
        key.run_id, key.member, key.stage);
    while (query.executeStep()) {
      CheckpointRow& row = rows.emplace_back();
      row.sequence = query.getColumn(0).getInt64();
      row.digest = query.getColumn(1).getString();
      row.best_weights_digest = query.getColumn(2).getString();
      row.cursor.set_epoch(query.getColumn(3).getInt());
      row.cursor.set_step(query.getColumn(4).getInt());
    }
    return rows;
  }

  absl::Status AddCheckpoint(const TaskKey& key, const CheckpointRow& row) override {
    SQLite::Statement statement = Prepare(
        "INSERT INTO checkpoints VALUES(?, ?, ?, ?, ?, ?, ?, ?)", key.run_id, key.member, key.stage,
        row.sequence, row.digest, row.best_weights_digest, row.cursor.epoch(), row.cursor.step());
    statement.exec();
    return absl::OkStatus();
  }

  absl::Status RemoveCheckpoint(const TaskKey& key, int64_t sequence) override {
    SQLite::Statement statement = Prepare(
        "DELETE FROM checkpoints WHERE run_id = ? AND member = ? AND stage = ? AND sequence = ?",
        key.run_id, key.member, key.stage, sequence);
    statement.exec();
    return absl::OkStatus();
  }

  absl::Status AddAppliedStep(const TaskKey& key, int64_t lease_epoch,
                              const v1::AppliedStep& step) override {
    std::string ids;
    for (const uint32_t id : step.sample_ids()) absl::StrAppend(&ids, ids.empty() ? "" : ",", id);
    SQLite::Statement statement = Prepare(
        "INSERT OR IGNORE INTO applied VALUES(?, ?, ?, ?, ?, ?, ?, ?)", key.run_id, key.member,
        key.stage, step.epoch(), step.step(), lease_epoch, step.batch_digest(), ids);
    if (statement.exec() == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("epoch ", step.epoch(), " step ", step.step(), " was applied before"));
    }
    return absl::OkStatus();
  }

  absl::Status RemoveAppliedFrom(const TaskKey& key, const v1::DataCursor& cursor) override {
    SQLite::Statement statement = Prepare(
        "DELETE FROM applied WHERE run_id = ? AND member = ? AND stage = ? "
        "AND (epoch, step) >= (?, ?)",
        key.run_id, key.member, key.stage, cursor.epoch(), cursor.step());
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> AppendEvent(const std::string& run_id, v1::RunEvent event) override {
    int64_t number = 1;
    {
      SQLite::Statement query =
          Prepare("SELECT COALESCE(MAX(number), 0) + 1 FROM events WHERE run_id = ?", run_id);
      if (query.executeStep()) number = query.getColumn(0).getInt64();
    }
    event.set_number(number);
    SQLite::Statement statement(db_, "INSERT INTO events VALUES(?, ?, ?)");
    statement.bind(1, run_id);
    statement.bind(2, number);
    BindBlob(statement, 3, Blob(event));
    statement.exec();
    return number;
  }

  absl::StatusOr<std::vector<v1::RunEvent>> EventsAfter(const std::string& run_id, int64_t number,
                                                        int limit) override {
    std::vector<v1::RunEvent> events;
    SQLite::Statement query =
        Prepare("SELECT event FROM events WHERE run_id = ? AND number > ? ORDER BY number LIMIT ?",
                run_id, number, limit);
    while (query.executeStep()) {
      ATELIER_ASSIGN_OR_RETURN(v1::RunEvent event,
                               FromBlob<v1::RunEvent>(query.getColumn(0), "event"));
      events.push_back(std::move(event));
    }
    return events;
  }

  absl::Status PutEnsemble(const v1::EnsembleVersion& ensemble) override {
    SQLite::Statement statement(db_, "INSERT INTO ensembles VALUES(?, ?, ?)");
    statement.bind(1, ensemble.name());
    statement.bind(2, ensemble.version());
    BindBlob(statement, 3, Blob(ensemble));
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<v1::EnsembleVersion>> ListEnsembles(const std::string& name) override {
    std::vector<v1::EnsembleVersion> ensembles;
    SQLite::Statement query = Prepare(
        "SELECT ensemble FROM ensembles WHERE ?1 = '' OR name = ?1 ORDER BY name, version DESC",
        name);
    while (query.executeStep()) {
      ATELIER_ASSIGN_OR_RETURN(auto ensemble,
                               FromBlob<v1::EnsembleVersion>(query.getColumn(0), "ensemble"));
      ensembles.push_back(std::move(ensemble));
    }
    return ensembles;
  }

  absl::Status SetPromoted(const std::string& name, int version, int64_t unix_ms) override {
    SQLite::Statement statement = Prepare(
        "INSERT OR REPLACE INTO promoted VALUES(?, ?, ?, "
        "(SELECT COALESCE(MAX(sequence), 0) + 1 FROM promoted))",
        name, version, unix_ms);
    statement.exec();
    SQLite::Statement history =
        Prepare("INSERT OR IGNORE INTO promotions VALUES(?, ?)", name, version);
    history.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Promoted>> GetPromoted(const std::string& name) override {
    SQLite::Statement query = Prepare(
        "SELECT name, version, unix_ms FROM promoted WHERE ?1 = '' OR name = ?1 "
        "ORDER BY sequence DESC LIMIT 1",
        name);
    if (!query.executeStep()) return std::optional<Promoted>();
    return std::optional<Promoted>({query.getColumn(0).getString(), query.getColumn(1).getInt(),
                                    query.getColumn(2).getInt64()});
  }

  absl::StatusOr<std::set<int>> PromotedOnce(const std::string& name) override {
    std::set<int> versions;
    SQLite::Statement query = Prepare("SELECT version FROM promotions WHERE name = ?", name);
    while (query.executeStep()) versions.insert(query.getColumn(0).getInt());
    return versions;
  }

  absl::Status AddReference(const std::string& digest, const std::string& owner) override {
    if (digest.empty()) return absl::OkStatus();
    SQLite::Statement statement =
        Prepare("INSERT OR IGNORE INTO artifact_references VALUES(?, ?)", digest, owner);
    statement.exec();
    return absl::OkStatus();
  }

  absl::Status RemoveReferences(const std::string& owner) override {
    SQLite::Statement statement = Prepare("DELETE FROM artifact_references WHERE owner = ?", owner);
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<bool> IsReferenced(const std::string& digest) override {
    SQLite::Statement query =
        Prepare("SELECT 1 FROM artifact_references WHERE digest = ? LIMIT 1", digest);
    return query.executeStep();
  }

  absl::StatusOr<bool> HasReferences() override {
    SQLite::Statement query(db_, "SELECT 1 FROM artifact_references LIMIT 1");
    return query.executeStep();
  }

  absl::Status AddStart(int64_t unix_ms) override {
    SQLite::Statement statement = Prepare("INSERT OR IGNORE INTO starts VALUES(?)", unix_ms);
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<int64_t>> LastStart(int64_t unix_ms) override {
    SQLite::Statement query = Prepare(
        "SELECT unix_ms FROM starts WHERE unix_ms <= ? ORDER BY unix_ms DESC LIMIT 1", unix_ms);
    if (!query.executeStep()) return std::optional<int64_t>();
    return std::optional<int64_t>(query.getColumn(0).getInt64());
  }

  absl::Status RemoveStartsBefore(int64_t unix_ms) override {
    SQLite::Statement statement = Prepare("DELETE FROM starts WHERE unix_ms < ?", unix_ms);
    statement.exec();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<RequestRow>> FindRequest(const std::string& id) override {
    SQLite::Statement query =
        Prepare("SELECT payload_digest, response FROM requests WHERE request_id = ?", id);
    if (!query.executeStep()) return std::optional<RequestRow>();
    return std::optional<RequestRow>(
        {query.getColumn(0).getString(), query.getColumn(1).getString()});
  }

  absl::Status PutRequest(const std::string& id, const RequestRow& row) override {
    SQLite::Statement statement(db_, "INSERT INTO requests VALUES(?, ?, ?)");
    statement.bind(1, id);
    statement.bind(2, row.payload_digest);
    BindBlob(statement, 3, row.response);
    statement.exec();
    return absl::OkStatus();
  }

 private:
  template <typename... Values>
  SQLite::Statement Prepare(const char* sql, const Values&... values) {
    SQLite::Statement statement(db_, sql);
    int index = 0;
    (statement.bind(++index, values), ...);
    return statement;
  }
  static void BindBlob(SQLite::Statement& statement, int index, const std::string& bytes) {
    statement.bind(index, bytes.data(), static_cast<int>(bytes.size()));
  }

  SQLite::Database& db_;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(std::unique_ptr<SQLite::Database> db,
              std::function<void(const std::string&)> on_fatal)
      : on_fatal_(std::move(on_fatal)), db_(std::move(db)) {}

  absl::Status Transact(const std::function<absl::Status(Transaction&)>& body) override {
    MutexLock lock(mutex_);
    try {
      SQLite::Transaction guard(*db_);  // rolls back unless committed
      SqliteTransaction transaction(*db_);
      ATELIER_RETURN_IF_ERROR(body(transaction));
      guard.commit();
      return absl::OkStatus();
    } catch (const SQLite::Exception& error) {
      return Failure(error);
    }
  }

 private:
  absl::Status Failure(const SQLite::Exception& error) {
    switch (error.getErrorCode()) {
      case SQLITE_FULL:
        return absl::ResourceExhaustedError("the coordinator's disk is full; nothing was changed");
      case SQLITE_TOOBIG:
        // Nothing was written, and nothing heals it: neither a restart nor waiting, as for a full
        // disk.
        return absl::InvalidArgumentError(
            "too large for a row of the coordinator's database; nothing was changed");
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return absl::UnavailableError("the coordinator's database is busy; try again");
      default:
        // After a failed write or fsync what is on the disk is unknown: only a restart reads it
        // anew.
        on_fatal_(absl::StrCat("database error ", error.getErrorCode(), "/",
                               error.getExtendedErrorCode(), ": ", error.what()));
        return absl::DataLossError("the coordinator's database failed; it restarts and recovers");
    }
  }

  const std::function<void(const std::string&)> on_fatal_;
  Mutex mutex_;
  std::unique_ptr<SQLite::Database> db_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(
    const std::filesystem::path& file, std::function<void(const std::string& why)> on_fatal) {
  try {
    auto db = std::make_unique<SQLite::Database>(
        file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, kBusyTimeoutMs);
    db->exec("PRAGMA journal_mode = WAL");
    db->exec("PRAGMA synchronous = FULL");
    db->exec("PRAGMA foreign_keys = ON");
    ATELIER_RETURN_IF_ERROR(BringToNewestSchema(*db));
    return std::make_unique<SqliteStore>(std::move(db), std::move(on_fatal));
  } catch (const SQLite::Exception& error) {
    return absl::DataLossError(absl::StrCat("cannot open the state database ",
                                            file.filename().string(), ": ", error.what()));
  }
}

}  // namespace atelier::coordinator
