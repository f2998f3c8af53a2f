#include "common/base/utf8.h"

#include <gtest/gtest.h>

namespace atelier {
namespace {

TEST(IsUtf8, TakesEveryLengthAndItsEnds) {
  for (const char* text :
       {"", "plain", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "caf\xc3\xa9 \xe7\xb5\xb5"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  EXPECT_TRUE(IsUtf8(std::string_view("a\0b", 3)));
}

TEST(IsUtf8, RefusesWhatIsCutOverlongOrNoCharacter) {
  for (const char* text :
       {"caf\xe9", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf",
        "\xe7\xb5", "\xe7\xb5\x41", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(CutUtf8, KeepsWholeCharactersOnly) {
  EXPECT_EQ(CutUtf8("", 3), "");
  EXPECT_EQ(CutUtf8("plain", 3), "pla");
  EXPECT_EQ(CutUtf8("caf\xc3\xa9", 5), "caf\xc3\xa9");
  EXPECT_EQ(CutUtf8("caf\xc3\xa9", 4), "caf");
  EXPECT_EQ(CutUtf8("\xf0\x9f\x98\x80", 3), "");
  EXPECT_EQ(CutUtf8("\xff\xff\xff", 2), "\xff\xff");
}

TEST(ReplaceInvalidUtf8, KeepsCharactersAndReplacesTheRest) {
  EXPECT_EQ(ReplaceInvalidUtf8("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(ReplaceInvalidUtf8("caf\xc3"), "caf\xef\xbf\xbd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe7\xb5z"), "\xef\xbf\xbd\xef\xbf\xbdz");
  EXPECT_EQ(ReplaceInvalidUtf8(std::string_view("a\0b", 3)), std::string_view("a\0b", 3));
}

}  // namespace
}  // namespace atelier
