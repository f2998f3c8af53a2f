// RELIABILITY, "RPC": half-open and slow streams. Clients that misbehave below
// what a gRPC library would let them, while others are answered.
#include <malloc.h>

#include "tests/integration/bad_input/rpc_oip_cases.h"
#include "tests/integration/bad_input/rpc_serving.h"
#include "tests/testing/raw_http2.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::Http2Frame;
using ::atelier::testing::RawHttp2;
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;

constexpr char kInfer[] = "/inference.GRPCInferenceService/ModelInfer";
constexpr char kStreamInfer[] = "/inference.GRPCInferenceService/ModelStreamInfer";

// Silent peers are found out within half a second here, not within 40.
class StreamsTest : public BadRpcTest {
 protected:
  static void SetUpTestSuite() {
    rpc::ServerOptions options;
    options.keepalive = milliseconds(300);
    options.keepalive_timeout = milliseconds(200);
    ASSERT_NO_FATAL_FAILURE(StartServing({}, options));
  }
  static std::string GoodMessage() {
    return RawHttp2::Message(MakeImageRequest({picture()}).SerializeAsString());
  }
};

// The peer's machine is gone: no FIN, no reset, no answer to a ping.
TEST_F(StreamsTest, HalfOpenOnesAreLetGoWhereverTheyStopped) {
  const std::string message = GoodMessage();
  for (const char* method : {kInfer, kStreamInfer}) {
    for (const size_t sent : {size_t{0}, size_t{3}, size_t{5}, message.size() / 2}) {
      RawHttp2 connection(port());
      ASSERT_TRUE(connection.Greet() && connection.BeginCall(1, method));
      ASSERT_TRUE(connection.SendData(1, message.substr(0, sent)));
      ExpectNextGoodRequestSucceeds();
      EXPECT_TRUE(connection.ReadUntilClosed(kPatience)) << method << " after " << sent;
      ExpectNextGoodRequestSucceeds();
    }
  }
}

TEST_F(StreamsTest, ThoseThatBreakOffInTheMiddleAreForgotten) {
  const std::string message = GoodMessage();
  for (const char* method : {kInfer, kStreamInfer}) {
    {
      RawHttp2 connection(port());
      ASSERT_TRUE(connection.Greet() && connection.BeginCall(1, method));
      ASSERT_TRUE(connection.SendData(1, message.substr(0, message.size() / 2)));
    }
    ExpectNextGoodRequestSucceeds();
    RawHttp2 connection(port());
    ASSERT_TRUE(connection.Greet() && connection.BeginCall(1, method));
    // The end of the stream where a message was promised.
    ASSERT_TRUE(connection.SendData(1, message.substr(0, message.size() / 2), true));
    ASSERT_TRUE(connection.BeginCall(3, method));
    ASSERT_TRUE(
        connection.Send(RawHttp2::Frame(Http2Frame::kReset, 0, 3, std::string("\0\0\0\x08", 4))));
    EXPECT_TRUE(connection.ReadUntilClosed(kPatience));
    ExpectNextGoodRequestSucceeds();
  }
}

TEST_F(StreamsTest, ASlowOneIsAnsweredAtItsEndAndHoldsNobodyUp) {
  const std::string message = GoodMessage();
  RawHttp2 connection(port());
  ASSERT_TRUE(connection.Greet() && connection.BeginCall(1, kInfer));
  constexpr size_t kPieces = 20;
  const size_t piece = (message.size() + kPieces - 1) / kPieces;
  for (size_t at = 0; at < message.size(); at += piece) {
    ASSERT_TRUE(connection.SendData(1, message.substr(at, piece), at + piece >= message.size()));
    ExpectNextGoodRequestSucceeds();
  }
  EXPECT_TRUE(connection.ReadUntilClosed(kPatience));
  EXPECT_EQ(connection.Received(Http2Frame::kHeaders), 2);  // metadata and trailers
  EXPECT_GE(connection.Received(Http2Frame::kData), 1);
}

TEST_F(StreamsTest, OneThatReadsNoAnswerHoldsNobodyUp) {
  grpc::ClientContext context;
  const auto stream = oip().stub->ModelStreamInfer(&context);
  // More than the server reads ahead; nothing is read here, the last writes may have to wait.
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(stream->Write(MakeImageRequest({picture()})));
  for (int i = 0; i < 10; ++i) ExpectNextGoodRequestSucceeds();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectNextGoodRequestSucceeds();
}

#if !defined(__SANITIZE_ADDRESS__)  // which has an allocator of its own

// Resident memory would count what glibc keeps of the freed.
int64_t BytesInUse() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

TEST_F(StreamsTest, AnswersThatNobodyReadsKeepNoRequestInMemory) {
  // A window of next to nothing: not even a small answer can be sent.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 5);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const OipClient slow(grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port()),
                                                 grpc::InsecureChannelCredentials(), arguments));
  constexpr int64_t kRequestBytes = 12 << 20;
  constexpr int kRequests = 4;  // as many as the server reads ahead
  const int64_t before = BytesInUse();
  grpc::ClientContext context;
  const auto stream = slow.stub->ModelStreamInfer(&context);
  {
    const auto request = MakeImageRequest({std::string(kRequestBytes, 'x')});
    for (int i = 0; i < kRequests; ++i) ASSERT_TRUE(stream->Write(request));
  }
  // Each is somewhere on its way to an answer until memory is back.
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (BytesInUse() - before > kRequestBytes && steady_clock::now() < end) {
    ExpectNextGoodRequestSucceeds();
  }
  EXPECT_LT(BytesInUse() - before, kRequestBytes);
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

#endif

}  // namespace
}  // namespace atelier::aggregator
