#include "services/data/csv.h"

#include "tests/testing/status_matchers.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ParseCsv, ReadsQuotesNewlinesAndBothLineEnds) {
  EXPECT_THAT(ParseCsv("\xEF\xBB\xBF"
                       "a,b\r\n\"x,\"\"y\"\"\",\"two\nlines\"\n\nlast,"),
              IsOkAndHolds(ElementsAre(ElementsAre("a", "b"), ElementsAre("x,\"y\"", "two\nlines"),
                                       ElementsAre("last", ""))));
}

TEST(ParseCsv, NamesTheLineOfAMistake) {
  EXPECT_THAT(ParseCsv("a,b\n1\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2")));
  EXPECT_THAT(ParseCsv("a\n\"open\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2")));
  EXPECT_THAT(ParseCsv("a\nb\n\xe9\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 3: not UTF-8")));
  EXPECT_THAT(ParseCsv("\"a\"b\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("closing quote")));
}

}  // namespace
}  // namespace atelier::data
