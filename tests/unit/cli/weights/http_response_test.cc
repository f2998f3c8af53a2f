#include "services/cli/weights/http_response.h"

#include <gtest/gtest.h>

#include "services/cli/weights/download.h"

namespace atelier::cli {
namespace {

TEST(ContentRange, ReadsWhatServersSend) {
  const auto part = ParseContentRange("bytes 100-199/1234");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ(part->first, 100);
  EXPECT_EQ(part->total, 1234);
  const auto none = ParseContentRange("bytes */1234");
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->first, std::nullopt);
  EXPECT_EQ(none->total, 1234);
  const auto unknown = ParseContentRange("Bytes 5-9/*");
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->first, 5);
  EXPECT_EQ(unknown->total, std::nullopt);
  for (const char* bad : {"", "bytes", "items 0-1/2", "bytes 0-1", "bytes -1/2", "bytes 1-/2",
                          "bytes 0-1/x", "bytes +1-2/3", "bytes 1-2/99999999999999999999"}) {
    EXPECT_FALSE(ParseContentRange(bad).has_value()) << bad;
  }
}

TEST(ResponseHead, AStatusLineBeginsAnew) {
  ResponseHead head;
  head.Add("HTTP/1.1 302 Found\r\n");
  head.Add("ETag: \"of the redirect\"\r\n");
  EXPECT_EQ(head.status, 302);
  head.Add("HTTP/2 206 \r\n");
  head.Add("content-type:text/plain\r\n");
  EXPECT_EQ(head.status, 206);
  EXPECT_EQ(head.content_type, "text/plain");
  EXPECT_EQ(head.Validator(), "");
}

TEST(ResponseHead, AWeakTagIsNoValidator) {
  ResponseHead head;
  head.Add("HTTP/1.1 200 OK");
  head.Add("Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT");
  EXPECT_EQ(head.Validator(), "Tue, 24 Nov 2026 10:00:00 GMT");
  head.Add("ETag: W/\"1\"");
  EXPECT_EQ(head.Validator(), "Tue, 24 Nov 2026 10:00:00 GMT");
  head.Add("ETag: \"1\"");
  EXPECT_EQ(head.Validator(), "\"1\"");
}

TEST(ShownUrl, LeavesOutWhatMayBeSecret) {
  EXPECT_EQ(ShownUrl("https://me:secret@host/a@b/c?token=1#x"), "https://host/a@b/c");
  EXPECT_EQ(ShownUrl("http://host:80/a"), "http://host:80/a");
  EXPECT_EQ(ShownUrl("http://me@host"), "http://host");
}

}  // namespace
}  // namespace atelier::cli
