#include "common/vision/guarded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "common/vision/decode.h"
#include "tests/testing/status_matchers.h"

namespace atelier::vision {
namespace {

template <typename Exception>
std::string TextOf(const Exception& exception) {
  const absl::Status status = Guarded("draw", [&exception]() -> absl::Status { throw exception; });
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  return std::string(status.message());
}

TEST(Guarded, OnlyMemoryIsCalledMemory) {
  EXPECT_EQ(TextOf(std::bad_alloc()), "not enough memory to draw");
  EXPECT_EQ(TextOf(std::runtime_error("no ink")), "cannot draw: no ink");
}

TEST(Guarded, TextsEchoNoPath) {
  const std::filesystem::filesystem_error error("cannot open", "/private/cat.png",
                                                std::make_error_code(std::errc::permission_denied));
  EXPECT_EQ(TextOf(error), "cannot draw: Permission denied");
  // OpenCV's own text begins with its source file.
  const absl::Status status = EncodePng({0, 2, 3, {1, 2, 3}}).status();
  EXPECT_THAT(status, testing::StatusIs(absl::StatusCode::kResourceExhausted,
                                        ::testing::StartsWith("cannot encode the picture: ")));
  EXPECT_THAT(std::string(status.message()), ::testing::Not(::testing::HasSubstr(".cpp")));
}

}  // namespace
}  // namespace atelier::vision
