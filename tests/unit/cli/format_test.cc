#include "services/cli/format.h"

#include <gtest/gtest.h>

#include <cmath>

namespace atelier::cli {
namespace {

TEST(CsvFieldTest, LeavesPlainTextAlone) { EXPECT_EQ(CsvField("dog/pic_1.jpg"), "dog/pic_1.jpg"); }

TEST(CsvFieldTest, QuotesWhatRfc4180Names) {
  EXPECT_EQ(CsvField("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvField("say \"hi\""), "\"say \"\"hi\"\"\"");
  EXPECT_EQ(CsvField("two\nlines"), "\"two\nlines\"");
}

TEST(CsvFieldTest, QuotesWhatASpreadsheetWouldRun) {
  for (const char* text : {"=1+1", "+x", "-x", "@x"}) {
    EXPECT_EQ(CsvField(text), "\"" + std::string(text) + "\"");
  }
}

TEST(CsvRowTest, JoinsAndEndsTheRow) { EXPECT_EQ(CsvRow({"a", "", "b,c"}), "a,,\"b,c\"\n"); }

TEST(PercentTest, ShowsTheWilsonInterval) {
  // 165 of 170: 93.30 and 98.74 by Wilson's formula with z = 1.96.
  EXPECT_EQ(PercentWithInterval(165.0 / 170, 170), "97.1 % (93.3 to 98.7)");
  EXPECT_EQ(PercentWithInterval(1, 0), "-");
  EXPECT_EQ(Percent(std::nan("")), "-");
}

TEST(DurationTest, GrowsHoursWhenNeeded) {
  EXPECT_EQ(Duration(7), "0:07");
  EXPECT_EQ(Duration(723), "12:03");
  EXPECT_EQ(Duration(3723), "1:02:03");
}

TEST(GroupedTest, SetsCommas) {
  EXPECT_EQ(Grouped(7), "7");
  EXPECT_EQ(Grouped(1698), "1,698");
  EXPECT_EQ(Grouped(1234567), "1,234,567");
}

TEST(BytesTest, PicksTheUnit) {
  EXPECT_EQ(Bytes(512), "512 B");
  EXPECT_EQ(Bytes(81'400'000), "81.4 MB");
}

TEST(TableTest, AlignsByCharactersNotBytes) {
  EXPECT_EQ(Table({{"a", "n"}, {"größe", "10"}, {"x", "5"}}, {1}),
            "a       n\ngröße  10\nx       5\n");
}

TEST(EscapeHtmlTest, EscapesTextAndAttributes) {
  EXPECT_EQ(EscapeHtml("<b a=\"x\" c='y'>&"), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;");
}

}  // namespace
}  // namespace atelier::cli
