// RELIABILITY's lists of names and tables through a data-service: what leads out of the root or
// cannot be written down is refused, hostile but legal names pass through, and the next good
// request succeeds.
#include <sys/stat.h>

#include "services/cli/format.h"
#include "services/data/csv.h"
#include "tests/integration/bad_input/data_fixture.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;

namespace fs = std::filesystem;

class NamesTest : public DataServiceTest {
 protected:
  // Another folder, that no link may lead to.
  const testing::TempDir outside_;
};

TEST_F(NamesTest, OfDatasets) {
  fs::create_directory_symlink(outside_.path(), root() / "link");
  const struct {
    std::string name;
    absl::StatusCode code;
  } cases[] = {
      {"../x", kBad},
      {"good/../../x", kBad},
      {"..", kBad},
      {"/etc/x", kBad},
      {"/", kBad},
      {"%2e%2e", kBad},
      {"%2E%2E%2Fx", kBad},
      {std::string("good\0", 5), kBad},
      {"good\\cat", kBad},
      {std::string(300, 'x'), kBad},
      {std::string(100'000, 'x'), kBad},
      {"link", kBad},
      {"nobody", absl::StatusCode::kNotFound},
      {"good/cat/0.png", absl::StatusCode::kNotFound},
  };
  for (const auto& test : cases) {
    const absl::Status status = Describe(test.name).status();
    EXPECT_THAT(status, StatusIs(test.code)) << test.name.substr(0, 40);
    EXPECT_THAT(status.message(), Not(HasSubstr(root().string()))) << "echoes the root";
    EXPECT_LT(status.message().size(), 300);
    // A plan for files that are not there is refused alike.
    EXPECT_THAT(Epoch(PlanOf(test.name, "0")), StatusIs(test.code));
    ExpectGoodRequestsSucceed();
  }
}

TEST_F(NamesTest, LinksStayBelowTheRoot) {
  WriteClasses(outside_.path(), 1);
  WriteClasses(root() / "file", kPerClass);
  fs::create_symlink(outside_.path() / "cat" / "0.png", root() / "file" / "cat" / "link.png");
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("file"));
  ASSERT_EQ(described.summary.quarantined_size(), 1);
  EXPECT_THAT(described.summary.quarantined(0).reason(), HasSubstr("leaves the root"));

  WriteClasses(root() / "folder", 1);
  fs::create_directory_symlink(outside_.path(), root() / "folder" / "dog" / "more");
  EXPECT_THAT(Describe("folder"), StatusIs(kBad, HasSubstr("dog/more is a link that leaves")));

  Write(outside_.path() / "table.csv", "filename,category\n0.png,cat\n");
  Write(root() / "table" / "0.png", Png(1));
  fs::create_symlink(outside_.path() / "table.csv", root() / "table" / "labels.csv");
  EXPECT_THAT(Describe("table"), StatusIs(kBad, HasSubstr("labels.csv is a link that leaves")));

  // Within the root a link is as good as a folder.
  fs::create_directories(root() / "linked");
  fs::create_directory_symlink(root() / "good" / "cat", root() / "linked" / "tom");
  fs::create_directory_symlink("../good/dog", root() / "linked" / "rex");
  ASSERT_OK_AND_ASSIGN(const DatasetDescription linked, Describe("linked"));
  EXPECT_EQ(linked.summary.labeled(), 2 * kPerClass);
  ExpectGoodRequestsSucceed();
}

TEST_F(NamesTest, LoopsOfLinksEnd) {
  WriteClasses(root() / "loop", 1);
  // Followed blindly these are two to the power of forty folders.
  fs::create_directory_symlink(".", root() / "loop" / "cat" / "a");
  fs::create_directory_symlink(".", root() / "loop" / "cat" / "b");
  EXPECT_THAT(Describe("loop"), StatusIs(kBad, HasSubstr("cat/a is a link to a folder read")));
  ExpectGoodRequestsSucceed();
}

TEST_F(NamesTest, APipeIsNotWaitedFor) {
  Write(root() / "pipe" / "labels.csv", "filename,category\n1.png,cat\n2.png,dog\npipe.png,dog\n");
  Write(root() / "pipe" / "1.png", Png(1));
  Write(root() / "pipe" / "2.png", Png(2));
  ASSERT_EQ(::mkfifo((root() / "pipe" / "pipe.png").c_str(), 0600), 0);
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("pipe", 0.5));
  ASSERT_EQ(described.summary.quarantined_size(), 1);
  EXPECT_THAT(described.summary.quarantined(0).reason(), HasSubstr("not a regular file"));
  ExpectGoodRequestsSucceed();
}

TEST_F(NamesTest, ThatAreNotUtf8AreQuarantined) {
  WriteClasses(root() / "latin", kPerClass);
  Write(root() / "latin" / "cat" / "caf\xe9.png", Png(900));
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("latin"));
  ASSERT_EQ(described.summary.quarantined_size(), 1);
  EXPECT_EQ(described.summary.quarantined(0).file(), "cat/caf\\xe9.png");
  EXPECT_THAT(described.summary.quarantined(0).reason(), HasSubstr("UTF-8"));
  // A class of such a name is no class.
  Write(root() / "latin" / "b\xe4r" / "1.png", Png(901));
  ASSERT_OK_AND_ASSIGN(const DatasetDescription without, Describe("latin"));
  EXPECT_EQ(without.summary.classes_size(), 2);
  EXPECT_EQ(without.summary.quarantined_size(), 2);
  EXPECT_THAT(Epoch(PlanOf("latin", without.summary.digest())), IsOk());
  ExpectGoodRequestsSucceed();
}

// Names that a spreadsheet would run, or that break tables written carelessly.
const std::vector<std::string>& HostileNames() {
  static const std::vector<std::string> names = {"+1+1",       "-2+3",    "=cmd|' C calc'!A0",
                                                 "@SUM(1)",    "a,b",     "one \"two\"",
                                                 "two\nlines", "\tindent"};
  return names;
}

std::string HostileTable() {
  std::string table = cli::CsvRow({"filename", "category"});
  for (const std::string& name : HostileNames()) table += cli::CsvRow({name + ".png", name});
  return table;
}

TEST_F(NamesTest, ThatSpreadsheetsRunPassThroughTables) {
  Write(root() / "table" / "labels.csv", HostileTable());
  int seed = 0;
  std::vector<std::string> sorted = HostileNames();
  std::sort(sorted.begin(), sorted.end());
  for (const std::string& name : HostileNames()) {
    Write(root() / "table" / (name + ".png"), Png(seed++));
    Write(root() / "folders" / name / "1.png", Png(seed++));
  }
  for (const char* dataset : {"table", "folders"}) {
    ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe(dataset));
    std::vector<std::string> classes;
    for (const auto& found : described.summary.classes()) classes.push_back(found.name());
    EXPECT_THAT(classes, ElementsAreArray(sorted)) << dataset;
    EXPECT_THAT(Epoch(PlanOf(dataset, described.summary.digest())), IsOk());
  }
}

TEST_F(NamesTest, ThatSpreadsheetsRunAreQuotedInWhatIsWritten) {
  std::string written;
  std::vector<std::vector<std::string>> rows;
  for (const std::string& name : HostileNames()) {
    Write(root() / "bad" / "cat" / name, "no picture");
    Write(root() / "bad" / "dog" / name, "no picture " + name);
  }
  WriteClasses(root() / "bad", 1);
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("bad", 1));
  ASSERT_EQ(described.summary.quarantined_size(), 2 * HostileNames().size());
  for (const auto& bad : described.summary.quarantined()) {
    rows.push_back({bad.file(), bad.reason()});
    written += cli::CsvRow(rows.back());
  }
  EXPECT_THAT(ParseCsv(written), ::atelier::testing::IsOkAndHolds(ElementsAreArray(rows)));
  for (const std::string& name : HostileNames()) {
    EXPECT_THAT(cli::CsvField(name),
                ::testing::AllOf(::testing::StartsWith("\""), ::testing::EndsWith("\"")));
  }
}

TEST_F(NamesTest, DamagedTablesAreRefusedByTheirLine) {
  const std::string head = "filename,category\n";
  const struct {
    const char* what;
    std::string table;
    std::string message;
  } cases[] = {
      {"empty", "", "must name the columns"},
      {"no header", "1.png,cat\n", "must name the columns"},
      {"header only", head, "no files"},
      {"an open quote", head + "\"1.png,cat\n", "line 2"},
      {"text after a quote", head + "\"1.png\"x,cat\n", "line 2"},
      {"a field too few", head + "1.png\n", "line 2"},
      {"a field too many", head + "1.png,cat,x\n", "line 2"},
      {"not UTF-8", head + "1.png,b\xe4r\n", "line 2: not UTF-8"},
      {"UTF-16",
       std::string("\xff\xfe"
                   "f\0i\0",
                   6),
       "not UTF-8"},
      {"NUL in a name", head + std::string("1.png\0x,cat\n", 12), "row 2"},
      {"a way out", head + "../x,cat\n", "row 2"},
      {"a hidden way out", head + "a/../../x,cat\n", "row 2"},
      {"an absolute name", head + "/etc/passwd,cat\n", "row 2"},
      {"a backslash", head + "..\\x,cat\n", "row 2"},
      {"no name", head + ",cat\n", "row 2"},
      {"one name twice", head + "1.png,cat\n1.png,dog\n", "row 3"},
  };
  for (const auto& test : cases) {
    Write(root() / "table" / "labels.csv", test.table);
    EXPECT_THAT(Describe("table"), StatusIs(kBad, HasSubstr(test.message))) << test.what;
    ExpectGoodRequestsSucceed();
  }
}

TEST_F(NamesTest, FilesThatTheTableInventsAreQuarantined) {
  Write(root() / "table" / "1.png", Png(1));
  Write(root() / "table" / "labels.csv",
        "filename,category\n1.png,cat\nnone.png,dog\n%2e%2e,dog\n" + std::string(300, 'x') +
            ",dog\n.,dog\n");
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described, Describe("table", 1));
  EXPECT_EQ(described.summary.quarantined_size(), 4);
  EXPECT_EQ(described.summary.labeled(), 1);
  ExpectGoodRequestsSucceed();
}

}  // namespace
}  // namespace atelier::data
