#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include "services/coordinator/store.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SqliteStoreTest : public ::testing::Test {
 protected:
  SqliteStoreTest() { Open(); }

  // Also: ends the old process's store and starts the next one's.
  void Open() {
    store_.reset();
    auto opened = OpenSqliteStore(file_, [](const std::string& why) { FAIL() << why; });
    ASSERT_THAT(opened, IsOk());
    store_ = *std::move(opened);
  }
  absl::Status Do(const std::function<absl::Status(Transaction&)>& body) {
    return store_->Transact(body);
  }
  // Of a query inside a transaction of its own.
  template <typename Query>
  auto Ask(Query query) {
    decltype(query(std::declval<Transaction&>())) result;
    EXPECT_THAT(Do([&](Transaction& transaction) {
                  result = query(transaction);
                  return absl::OkStatus();
                }),
                IsOk());
    return result;
  }

  static RunRecord MakeRecord(const std::string& id, int64_t created) {
    RunRecord record;
    record.run.set_run_id(id);
    record.run.set_created_unix_ms(created);
    return record;
  }
  static v1::AppliedStep MakeStep(int epoch, int step) {
    v1::AppliedStep applied;
    applied.set_epoch(epoch);
    applied.set_step(step);
    applied.add_sample_ids(4);
    applied.add_sample_ids(2);
    applied.set_batch_digest("b");
    return applied;
  }
  static v1::EnsembleVersion MakeEnsemble(const std::string& name, int version) {
    v1::EnsembleVersion ensemble;
    ensemble.set_name(name);
    ensemble.set_version(version);
    return ensemble;
  }

  const TaskKey key_{"r", "a", "train"};
  TempDir dir_;
  const std::filesystem::path file_ = dir_.path() / "state.db";
  std::unique_ptr<Store> store_;
};

TEST_F(SqliteStoreTest, ARestartKeepsEverything) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                RunRecord record = MakeRecord("r", 5);
                record.run.set_error(std::string("a\0b", 3));
                EXPECT_THAT(t.PutRun(record), IsOk());
                v1::Task task;
                task.set_member("a");
                EXPECT_THAT(t.PutTask("r", 0, task), IsOk());
                task.set_member("b");
                EXPECT_THAT(t.PutTask("r", 1, task), IsOk());
                CheckpointRow row{1, "c1", "w1", {}};
                row.cursor.set_epoch(2);
                row.cursor.set_step(3);
                EXPECT_THAT(t.AddCheckpoint(key_, row), IsOk());
                EXPECT_THAT(t.AddAppliedStep(key_, 1, MakeStep(0, 0)), IsOk());
                EXPECT_THAT(t.AppendEvent("r", {}), IsOk());
                EXPECT_THAT(t.PutEnsemble(MakeEnsemble("birds", 1)), IsOk());
                EXPECT_THAT(t.SetPromoted("birds", 1, 99), IsOk());
                EXPECT_THAT(t.AddReference("c1", "owner"), IsOk());
                return t.PutRequest("id", {"payload", std::string("x\0y", 3)});
              }),
              IsOk());
  Open();
  ASSERT_OK_AND_ASSIGN(const RunRecord record, Ask([](Transaction& t) { return t.GetRun("r"); }));
  EXPECT_EQ(record.run.error(), std::string("a\0b", 3));
  ASSERT_EQ(record.tasks.size(), 2U);
  EXPECT_EQ(record.tasks[1].member(), "b");
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       Ask([&](Transaction& t) { return t.ListCheckpoints(key_); }));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].digest, "c1");
  EXPECT_EQ(rows[0].best_weights_digest, "w1");
  EXPECT_EQ(rows[0].cursor.epoch(), 2);
  EXPECT_EQ(rows[0].cursor.step(), 3);
  EXPECT_THAT(Do([&](Transaction& t) { return t.AddAppliedStep(key_, 2, MakeStep(0, 0)); }),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(const auto events,
                       Ask([](Transaction& t) { return t.EventsAfter("r", 0, 10); }));
  EXPECT_EQ(events.size(), 1U);
  ASSERT_OK_AND_ASSIGN(const auto promoted, Ask([](Transaction& t) { return t.GetPromoted(""); }));
  ASSERT_TRUE(promoted.has_value());
  EXPECT_EQ(promoted->name, "birds");
  EXPECT_EQ(promoted->unix_ms, 99);
  ASSERT_OK_AND_ASSIGN(const bool needed, Ask([](Transaction& t) { return t.IsReferenced("c1"); }));
  EXPECT_TRUE(needed);
  ASSERT_OK_AND_ASSIGN(const auto request, Ask([](Transaction& t) { return t.FindRequest("id"); }));
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->response, std::string("x\0y", 3));
}

TEST_F(SqliteStoreTest, AnErrorRollsEverythingBack) {
  EXPECT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.PutRun(MakeRecord("r", 1)), IsOk());
                EXPECT_THAT(t.AppendEvent("r", {}), IsOk());
                EXPECT_THAT(t.AddReference("d", "owner"), IsOk());
                return absl::AbortedError("stale");
              }),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("stale")));
  EXPECT_THAT(Ask([](Transaction& t) { return t.GetRun("r"); }),
              StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK_AND_ASSIGN(const auto events,
                       Ask([](Transaction& t) { return t.EventsAfter("r", 0, 10); }));
  EXPECT_THAT(events, IsEmpty());
  ASSERT_OK_AND_ASSIGN(const bool needed, Ask([](Transaction& t) { return t.IsReferenced("d"); }));
  EXPECT_FALSE(needed);
}

TEST_F(SqliteStoreTest, AStepIsAppliedOnce) {
  ASSERT_THAT(Do([&](Transaction& t) { return t.AddAppliedStep(key_, 1, MakeStep(1, 2)); }),
              IsOk());
  EXPECT_THAT(Do([&](Transaction& t) { return t.AddAppliedStep(key_, 9, MakeStep(1, 2)); }),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("epoch 1 step 2")));
  // Of another task it is another step.
  EXPECT_THAT(
      Do([&](Transaction& t) { return t.AddAppliedStep({"r", "b", "train"}, 1, MakeStep(1, 2)); }),
      IsOk());
}

TEST_F(SqliteStoreTest, StepsBehindACursorLeaveTheLedger) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                for (const auto& [epoch, step] :
                     {std::pair(0, 0), std::pair(0, 9), std::pair(1, 0), std::pair(1, 5)}) {
                  EXPECT_THAT(t.AddAppliedStep(key_, 1, MakeStep(epoch, step)), IsOk());
                }
                v1::DataCursor cursor;
                cursor.set_epoch(0);
                cursor.set_step(5);
                return t.RemoveAppliedFrom(key_, cursor);
              }),
              IsOk());
  const auto add = [&](int epoch, int step) {
    return Do([&](Transaction& t) { return t.AddAppliedStep(key_, 2, MakeStep(epoch, step)); });
  };
  EXPECT_THAT(add(0, 0), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(add(0, 9), IsOk());
  EXPECT_THAT(add(1, 0), IsOk());
  EXPECT_THAT(add(1, 5), IsOk());
}

TEST_F(SqliteStoreTest, EventsAreNumberedPerRunWithoutGap) {
  std::vector<int64_t> numbers;
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                for (const char* run : {"r", "s", "r", "r", "s"}) {
                  numbers.push_back(*t.AppendEvent(run, {}));
                }
                return absl::OkStatus();
              }),
              IsOk());
  EXPECT_THAT(numbers, ElementsAre(1, 1, 2, 3, 2));
  ASSERT_OK_AND_ASSIGN(const auto page,
                       Ask([](Transaction& t) { return t.EventsAfter("r", 1, 1); }));
  ASSERT_EQ(page.size(), 1U);
  EXPECT_EQ(page[0].number(), 2);
}

TEST_F(SqliteStoreTest, CheckpointsAreListedNewestFirst) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                for (const int64_t n : {1, 2, 3}) {
                  EXPECT_THAT(t.AddCheckpoint(key_, {n, "c" + std::to_string(n), "", {}}), IsOk());
                }
                return t.RemoveCheckpoint(key_, 2);
              }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       Ask([&](Transaction& t) { return t.ListCheckpoints(key_); }));
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].digest, "c3");
  EXPECT_EQ(rows[1].digest, "c1");
}

TEST_F(SqliteStoreTest, RunsAreListedNewestFirst) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.PutRun(MakeRecord("old", 1)), IsOk());
                return t.PutRun(MakeRecord("new", 2));
              }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(const auto runs, Ask([](Transaction& t) { return t.ListRuns(); }));
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].run_id(), "new");
}

TEST_F(SqliteStoreTest, TheNamePromotedLastIsTheDefault) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.SetPromoted("a", 1, 1), IsOk());
                EXPECT_THAT(t.SetPromoted("b", 4, 2), IsOk());
                return t.SetPromoted("a", 2, 3);
              }),
              IsOk());
  ASSERT_OK_AND_ASSIGN(const auto last, Ask([](Transaction& t) { return t.GetPromoted(""); }));
  EXPECT_EQ(last->name, "a");
  EXPECT_EQ(last->version, 2);
  ASSERT_OK_AND_ASSIGN(const auto b, Ask([](Transaction& t) { return t.GetPromoted("b"); }));
  EXPECT_EQ(b->version, 4);
  ASSERT_OK_AND_ASSIGN(const auto none, Ask([](Transaction& t) { return t.GetPromoted("c"); }));
  EXPECT_FALSE(none.has_value());
}

TEST_F(SqliteStoreTest, PromotionsAreRememberedAfterTheNextOnes) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.SetPromoted("a", 1, 1), IsOk());
                EXPECT_THAT(t.SetPromoted("a", 3, 2), IsOk());
                EXPECT_THAT(t.SetPromoted("b", 2, 3), IsOk());
                return t.SetPromoted("a", 1, 4);
              }),
              IsOk());
  Open();
  ASSERT_OK_AND_ASSIGN(const auto a, Ask([](Transaction& t) { return t.PromotedOnce("a"); }));
  EXPECT_THAT(a, ElementsAre(1, 3));
  ASSERT_OK_AND_ASSIGN(const auto none, Ask([](Transaction& t) { return t.PromotedOnce("c"); }));
  EXPECT_THAT(none, IsEmpty());
}

TEST_F(SqliteStoreTest, AnArtifactIsNeededUntilItsLastOwnerLetsGo) {
  const auto needed = [&] { return *Ask([](Transaction& t) { return t.IsReferenced("d"); }); };
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.AddReference("d", "one"), IsOk());
                EXPECT_THAT(t.AddReference("d", "one"), IsOk());
                return t.AddReference("d", "two");
              }),
              IsOk());
  ASSERT_THAT(Do([](Transaction& t) { return t.RemoveReferences("one"); }), IsOk());
  EXPECT_TRUE(needed());
  ASSERT_THAT(Do([](Transaction& t) { return t.RemoveReferences("two"); }), IsOk());
  EXPECT_FALSE(needed());
}

TEST_F(SqliteStoreTest, StateOfANewerAtelierIsRefusedUntouched) {
  store_.reset();
  SQLite::Database(file_.string(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 99");
  EXPECT_THAT(OpenSqliteStore(file_, nullptr),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("newer Atelier")));
  SQLite::Database db(file_.string());
  EXPECT_EQ(db.execAndGet("PRAGMA user_version").getInt(), 99);
}

TEST_F(SqliteStoreTest, StateOfSchema1IsBroughtUpToDate) {
  store_.reset();
  {
    SQLite::Database db(file_.string(), SQLite::OPEN_READWRITE);
    db.exec("ALTER TABLE checkpoints DROP COLUMN epoch");
    db.exec("ALTER TABLE checkpoints DROP COLUMN step");
    db.exec("INSERT INTO checkpoints VALUES('r', 'a', 'train', 1, 'c1', '')");
    db.exec("DROP TABLE starts");
    db.exec("DROP TABLE promotions");
    db.exec("PRAGMA user_version = 1");
  }
  Open();
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       Ask([&](Transaction& t) { return t.ListCheckpoints(key_); }));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].cursor.epoch(), -1);
  EXPECT_THAT(Do([](Transaction& t) { return t.AddStart(1); }), IsOk());
}

TEST_F(SqliteStoreTest, StateOfSchema2IsBroughtUpToDate) {
  store_.reset();
  {
    SQLite::Database db(file_.string(), SQLite::OPEN_READWRITE);
    db.exec("INSERT INTO checkpoints VALUES('r', 'a', 'train', 1, 'c1', '', 3, 4)");
    db.exec("DROP TABLE starts");
    db.exec("DROP TABLE promotions");
    db.exec("PRAGMA user_version = 2");
  }
  Open();
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       Ask([&](Transaction& t) { return t.ListCheckpoints(key_); }));
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].cursor.step(), 4);
  EXPECT_THAT(Do([](Transaction& t) { return t.AddStart(1); }), IsOk());
}

TEST_F(SqliteStoreTest, StateOfSchema3IsBroughtUpToDate) {
  ASSERT_THAT(Do([&](Transaction& t) -> absl::Status {
                for (const int version : {1, 2, 3}) {
                  EXPECT_THAT(t.PutEnsemble(MakeEnsemble("birds", version)), IsOk());
                }
                return t.SetPromoted("birds", 3, 5);
              }),
              IsOk());
  store_.reset();
  {
    SQLite::Database db(file_.string(), SQLite::OPEN_READWRITE);
    db.exec("DROP TABLE promotions");
    db.exec("PRAGMA user_version = 3");
  }
  Open();
  // The first of a name was promoted by itself; nothing is known of the second.
  ASSERT_OK_AND_ASSIGN(const auto once,
                       Ask([](Transaction& t) { return t.PromotedOnce("birds"); }));
  EXPECT_THAT(once, ElementsAre(1, 3));
  EXPECT_THAT(Do([](Transaction& t) { return t.SetPromoted("birds", 2, 6); }), IsOk());
}

TEST_F(SqliteStoreTest, StartsAreRemembered) {
  for (const int64_t at : {30, 10, 20, 20}) {
    EXPECT_THAT(Do([at](Transaction& t) { return t.AddStart(at); }), IsOk());
  }
  Open();
  const auto last = [&](int64_t until) {
    return Ask([until](Transaction& t) { return t.LastStart(until); }).value_or(std::nullopt);
  };
  EXPECT_FALSE(last(9).has_value());
  EXPECT_EQ(last(10), 10);
  EXPECT_EQ(last(29), 20);
  EXPECT_EQ(last(99), 30);
  EXPECT_THAT(Do([](Transaction& t) { return t.RemoveStartsBefore(20); }), IsOk());
  EXPECT_FALSE(last(19).has_value());
  EXPECT_EQ(last(20), 20);
}

sqlite3* opened_last = nullptr;

std::string Setting(const std::string& name) {
  std::string value;
  const auto keep = [](void* to, int, char** columns, char**) {
    *static_cast<std::string*>(to) = columns[0];
    return 0;
  };
  sqlite3_exec(opened_last, ("PRAGMA " + name).c_str(), keep, &value, nullptr);
  return value;
}

// Calls `open`, which opens a connection, and remembers it.
void RememberOpened(const std::function<void()>& open) {
  int (*const remember)(sqlite3*, char**, const sqlite3_api_routines*) =
      [](sqlite3* opened, char**, const sqlite3_api_routines*) {
        opened_last = opened;
        return SQLITE_OK;
      };
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(remember));
  open();
  sqlite3_reset_auto_extension();
}

// Most settings are a connection's own: the store's is asked, not another one.
TEST_F(SqliteStoreTest, SettingsAreThoseOfADurableStore) {
  RememberOpened([this] { Open(); });
  EXPECT_EQ(Setting("journal_mode"), "wal");
  EXPECT_EQ(Setting("synchronous"), "2");  // FULL
  EXPECT_EQ(Setting("foreign_keys"), "1");
  EXPECT_EQ(Setting("busy_timeout"), "5000");
}

// A restart would not help: the same run would be too large again.
TEST_F(SqliteStoreTest, ARowThatIsTooLargeIsRefusedAndEndsNothing) {
  RememberOpened([this] { Open(); });
  sqlite3_limit(opened_last, SQLITE_LIMIT_LENGTH, 10'000);
  RunRecord large = MakeRecord("large", 1);
  large.run.set_error(std::string(20'000, 'x'));
  EXPECT_THAT(Do([&](Transaction& t) -> absl::Status {
                EXPECT_THAT(t.PutRun(MakeRecord("before", 1)), IsOk());
                return t.PutRun(large);
              }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
  EXPECT_THAT(Do([](Transaction& t) { return t.PutRun(MakeRecord("after", 2)); }), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto runs, Ask([](Transaction& t) { return t.ListRuns(); }));
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].run_id(), "after");
}

TEST_F(SqliteStoreTest, AFileThatIsNoDatabaseIsDataLossWithoutItsPath) {
  store_.reset();
  {
    std::FILE* file = std::fopen(file_.c_str(), "w");
    std::fputs("this is not a database, whatever its name says", file);
    std::fclose(file);
  }
  const auto opened = OpenSqliteStore(file_, nullptr);
  EXPECT_THAT(opened, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(opened.status().message()),
              ::testing::Not(HasSubstr(dir_.path().string())));
}

}  // namespace
}  // namespace atelier::coordinator
