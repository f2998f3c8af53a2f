#include "services/coordinator/schema_sqlite.h"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Transaction.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace atelier::coordinator {
namespace {

constexpr int kSchemaVersion = 4;

constexpr char kSchema[] = R"sql(
CREATE TABLE runs(run_id TEXT PRIMARY KEY, created INTEGER NOT NULL, run BLOB NOT NULL);
CREATE TABLE tasks(run_id TEXT NOT NULL REFERENCES runs(run_id), ordinal INTEGER NOT NULL,
  task BLOB NOT NULL, PRIMARY KEY(run_id, ordinal));
CREATE TABLE checkpoints(run_id TEXT NOT NULL, member TEXT NOT NULL, stage TEXT NOT NULL,
  sequence INTEGER NOT NULL, digest TEXT NOT NULL, best_weights TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT -1, step INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(run_id, member, stage, sequence));
CREATE TABLE applied(run_id TEXT NOT NULL, member TEXT NOT NULL, stage TEXT NOT NULL,
  epoch INTEGER NOT NULL, step INTEGER NOT NULL, lease_epoch INTEGER NOT NULL,
  batch_digest TEXT NOT NULL, sample_ids TEXT NOT NULL,
  PRIMARY KEY(run_id, member, stage, epoch, step)) WITHOUT ROWID;
CREATE TABLE events(run_id TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY(run_id, number)) WITHOUT ROWID;
CREATE TABLE ensembles(name TEXT NOT NULL, version INTEGER NOT NULL, ensemble BLOB NOT NULL,
  PRIMARY KEY(name, version));
CREATE TABLE promoted(name TEXT PRIMARY KEY, version INTEGER NOT NULL, unix_ms INTEGER NOT NULL,
  sequence INTEGER NOT NULL);
CREATE TABLE promotions(name TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY(name, version)) WITHOUT ROWID;
CREATE TABLE artifact_references(digest TEXT NOT NULL, owner TEXT NOT NULL,
  PRIMARY KEY(digest, owner)) WITHOUT ROWID;
CREATE INDEX references_by_owner ON artifact_references(owner);
CREATE TABLE requests(request_id TEXT PRIMARY KEY, payload_digest TEXT NOT NULL,
  response BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE starts(unix_ms INTEGER PRIMARY KEY);
)sql";

constexpr char kSchemaFrom1To2[] = R"sql(
ALTER TABLE checkpoints ADD COLUMN epoch INTEGER NOT NULL DEFAULT -1;
ALTER TABLE checkpoints ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr char kSchemaFrom2To3[] = R"sql(
CREATE TABLE starts(unix_ms INTEGER PRIMARY KEY);
)sql";

// Of the past only what is sure: a name's first version was promoted by itself.
constexpr char kSchemaFrom3To4[] = R"sql(
CREATE TABLE promotions(name TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY(name, version)) WITHOUT ROWID;
INSERT INTO promotions SELECT name, MIN(version) FROM ensembles GROUP BY name;
INSERT OR IGNORE INTO promotions SELECT name, version FROM promoted;
)sql";

}  // namespace

absl::Status BringToNewestSchema(SQLite::Database& db) {
  const int version = db.execAndGet("PRAGMA user_version").getInt();
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the state was written by a newer Atelier (schema ", version,
                     ", this one knows ", kSchemaVersion, "); use that version"));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  SQLite::Transaction transaction(db);
  if (version == 0) db.exec(kSchema);
  if (version == 1) db.exec(kSchemaFrom1To2);
  if (version == 1 || version == 2) db.exec(kSchemaFrom2To3);
  if (version >= 1 && version <= 3) db.exec(kSchemaFrom3To4);
  db.exec("PRAGMA user_version = " + std::to_string(kSchemaVersion));
  transaction.commit();
  return absl::OkStatus();
}

}  // namespace atelier::coordinator
