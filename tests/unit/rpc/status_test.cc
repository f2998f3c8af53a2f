#include "common/rpc/status.h"

#include <gtest/gtest.h>

#include "common/base/utf8.h"

namespace atelier::rpc {
namespace {

TEST(Status, EveryCodeSurvivesTheRoundTrip) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "text");
    EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(status)), status) << code;
  }
}

TEST(Status, LongMessagesAreCut) {
  const absl::Status status = absl::InternalError(std::string(100'000, 'x'));
  EXPECT_EQ(ToGrpcStatus(status).error_message().size(), 4096u);
}

TEST(Status, WhatIsSentPercentEncodedCountsThreefold) {
  const std::string percents(2'000, '%');
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(percents)).error_message().size(), 4096u / 3);
  std::string hangul;
  while (hangul.size() < 4'000) hangul += "\xea\xb0\x80";
  const std::string cut = ToGrpcStatus(absl::InternalError(hangul)).error_message();
  EXPECT_EQ(cut.size(), 4096u / 9 * 3);
  EXPECT_TRUE(IsUtf8(cut));
  // What is no text at all is cut as well.
  const std::string bytes(4'000, '\xff');
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(bytes)).error_message().size(), 4096u / 3);
}

}  // namespace
}  // namespace atelier::rpc
