#include "common/vision/limit_flags.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <vector>

namespace atelier::vision {
namespace {

// The limits after `arguments`, which begin with the last one (CLI11's order).
DecodeLimits Parsed(std::vector<std::string> arguments) {
  CLI::App app;
  DecodeLimits limits;
  AddPictureLimitFlags(app, limits);
  app.parse(std::move(arguments));
  return limits;
}

TEST(PictureLimitFlags, DefaultToReliabilitysLimits) {
  const DecodeLimits limits = Parsed({});
  EXPECT_EQ(limits.max_bytes, 12 << 20);
  EXPECT_EQ(limits.max_pixels, 25'000'000);
  EXPECT_EQ(limits.max_side, 8192);
  EXPECT_EQ(limits.max_aspect, 100);
}

TEST(PictureLimitFlags, SetOneLimitEach) {
  EXPECT_EQ(Parsed({"7", "--max-picture-bytes"}).max_bytes, 7);
  EXPECT_EQ(Parsed({"7", "--max-picture-pixels"}).max_pixels, 7);
  EXPECT_EQ(Parsed({"7", "--max-picture-side"}).max_side, 7);
  EXPECT_EQ(Parsed({"7.5", "--max-picture-aspect"}).max_aspect, 7.5);
}

TEST(PictureLimitFlags, ComeFromTheEnvironmentToo) {
  ::setenv("ATELIER_MAX_PICTURE_SIDE", "99", 1);
  EXPECT_EQ(Parsed({}).max_side, 99);
  ::unsetenv("ATELIER_MAX_PICTURE_SIDE");
}

TEST(PictureLimitFlags, RefuseWhatIsNoLimit) {
  EXPECT_THROW(Parsed({"0", "--max-picture-bytes"}), CLI::ValidationError);
  EXPECT_THROW(Parsed({"-1", "--max-picture-pixels"}), CLI::ValidationError);
  EXPECT_THROW(Parsed({"0", "--max-picture-side"}), CLI::ValidationError);
  EXPECT_THROW(Parsed({"0.5", "--max-picture-aspect"}), CLI::ValidationError);
}

}  // namespace
}  // namespace atelier::vision
