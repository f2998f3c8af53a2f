// The limits of connections and messages: each is the default, a flag, and holds at its value and
// just over it.
#include "common/rpc/limits.h"

#include <grpcpp/grpcpp.h>

#include <functional>
#include <future>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "atelier/v1/registry.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/retry.h"
#include "common/rpc/server_flags.h"
#include "common/rpc/status.h"
#include "tests/testing/raw_http2.h"
#include "tests/testing/status_matchers.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::Http2Frame;
using ::atelier::testing::IsOk;
using ::atelier::testing::RawHttp2;
using ::atelier::testing::StatusIs;
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};

struct FlagCase {
  std::string flag;
  std::function<int64_t(const ServerOptions&)> value;
  int64_t by_default;
  std::string given;
  int64_t then;
};

const std::vector<FlagCase>& FlagCases() {
  static const auto* const cases = new std::vector<FlagCase>{
      {"--max-receive-bytes", [](auto& o) { return o.max_receive_bytes; }, 4 << 20, "5000", 5000},
      {"--max-concurrent-streams", [](auto& o) { return o.max_concurrent_streams; }, 64, "7", 7},
      {"--resource-quota-mib", [](auto& o) { return o.resource_quota_bytes; }, 512 << 20, "3",
       3 << 20},
      {"--handshake-seconds", [](auto& o) { return o.handshake.count(); }, 5'000, "2", 2'000},
      {"--connection-idle-seconds", [](auto& o) { return o.connection_idle.count(); }, 300'000, "2",
       2'000},
      {"--connection-age-seconds", [](auto& o) { return o.connection_age.count(); }, 1'800'000, "2",
       2'000},
      {"--connection-age-grace-seconds", [](auto& o) { return o.connection_age_grace.count(); },
       60'000, "2", 2'000},
      {"--keepalive-seconds", [](auto& o) { return o.keepalive.count(); }, 30'000, "2", 2'000},
      {"--keepalive-timeout-seconds", [](auto& o) { return o.keepalive_timeout.count(); }, 10'000,
       "2", 2'000},
      {"--min-ping-interval-seconds", [](auto& o) { return o.min_ping_interval.count(); }, 20'000,
       "2", 2'000},
      {"--watchdog-seconds", [](auto& o) { return o.watchdog.count(); }, 15'000, "0", 0},
  };
  return *cases;
}

TEST(DefaultLimits, AreThoseOfThePageAndFlags) {
  for (const FlagCase& c : FlagCases()) {
    SCOPED_TRACE(c.flag);
    for (const bool given : {false, true}) {
      CLI::App app;
      ServerOptions options;
      AddServerFlags(app, options);
      std::vector<std::string> arguments;
      if (given) arguments = {c.given, c.flag};  // CLI11 takes them in reverse
      app.parse(arguments);
      EXPECT_EQ(c.value(options), given ? c.then : c.by_default);
    }
    EXPECT_NE(c.then, c.by_default);
  }
}

TEST(DefaultLimits, EveryFlagHasItsEnvironmentVariable) {
  CLI::App app;
  ServerOptions options;
  AddServerFlags(app, options);
  for (const CLI::Option* option : app.get_options()) {
    const std::string flag = option->get_name();
    if (flag == "--help") continue;
    EXPECT_EQ(option->get_envname(), EnvironmentName(flag));
  }
}

TEST(DefaultLimits, PicturesHaveSixteenMebibytesAndCallsFourAttempts) {
  EXPECT_EQ(kPictureReceiveBytes, 16 << 20);
  EXPECT_GE(BatchMessageBytes(2, 3, 4), 2 * (3 + 4 * 4 + 5));
  EXPECT_EQ(ChannelOptions().max_receive_bytes, kPictureReceiveBytes);
  EXPECT_EQ(RetryPolicy().max_attempts, 4);
}

// Answers with as many bytes as the request's first picture says in its size.
class EchoService final : public v1::AggregatorService::CallbackService {
 public:
  grpc::ServerUnaryReactor* Predict(grpc::CallbackServerContext* context,
                                    const v1::AggregatorPredictRequest* request,
                                    v1::AggregatorPredictResponse* response) override {
    if (request->want_members()) response->add_labels(request->images(0));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// Without this house's own limits.
std::shared_ptr<grpc::Channel> UnlimitedChannel(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

// A request of exactly `bytes`.
v1::AggregatorPredictRequest RequestOf(size_t bytes) {
  v1::AggregatorPredictRequest request;
  std::string& picture = *request.add_images();
  picture.assign(bytes, 'x');
  picture.resize(bytes - (request.ByteSizeLong() - bytes));
  EXPECT_EQ(request.ByteSizeLong(), bytes);
  return request;
}

absl::Status Predict(const std::shared_ptr<grpc::Channel>& channel,
                     const v1::AggregatorPredictRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::AggregatorPredictResponse response;
  return FromGrpcStatus(
      v1::AggregatorService::NewStub(channel)->Predict(&context, request, &response));
}

TEST(ReceiveLimit, HoldsAtItsValueAndJustOver) {
  EchoService service;
  for (const int limit : {ServerOptions().max_receive_bytes, kPictureReceiveBytes}) {
    ServerOptions options;
    options.max_receive_bytes = limit;
    ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start(options, {&service}));
    const auto channel = UnlimitedChannel(server->port());
    EXPECT_THAT(Predict(channel, RequestOf(static_cast<size_t>(limit))), IsOk());
    EXPECT_THAT(Predict(channel, RequestOf(static_cast<size_t>(limit) + 1)),
                StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(Predict(channel, RequestOf(10)), IsOk());
  }
}

TEST(ReceiveLimit, HoldsAtTheClientToo) {
  EchoService service;
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start({}, {&service}));
  ChannelOptions options;
  options.max_receive_bytes = 10'000;
  const auto factory = MakeTcpChannelFactory(options);
  const auto channel = factory->Connect("127.0.0.1:" + std::to_string(server->port()));
  v1::AggregatorPredictRequest request = RequestOf(9'998);  // want_members takes two more
  request.set_want_members(true);
  EXPECT_THAT(Predict(channel, request), IsOk());
  request.mutable_images(0)->push_back('x');  // one byte more than may be sent
  EXPECT_THAT(Predict(channel, request), StatusIs(absl::StatusCode::kResourceExhausted));
  // Nothing is lost by a large one: received at once from a peer with wider limits.
  EXPECT_THAT(Predict(UnlimitedChannel(server->port()), request), IsOk());
}

// Sends one message and stays open.
class EndlessService final : public v1::RegistryService::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::PromotedEnsemble>* WatchPromoted(
      grpc::CallbackServerContext*, const v1::WatchPromotedRequest*) override {
    class Reactor final : public grpc::ServerWriteReactor<v1::PromotedEnsemble> {
     public:
      Reactor() { StartWrite(&message_); }
      void OnCancel() override { Finish(grpc::Status::CANCELLED); }
      void OnDone() override { delete this; }

     private:
      v1::PromotedEnsemble message_;
    };
    return new Reactor;
  }
};

struct OpenStream {
  explicit OpenStream(v1::RegistryService::Stub& stub, milliseconds timeout = kPatience) {
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    reader = stub.WatchPromoted(&context, {});
  }
  bool Begun() {
    v1::PromotedEnsemble message;
    return reader->Read(&message);
  }
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::PromotedEnsemble>> reader;
};

TEST(StreamLimit, SixtyFourCallsRunAndTheNextWaitsForItsTurn) {
  EndlessService service;
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start({}, {&service}));
  const auto stub = v1::RegistryService::NewStub(UnlimitedChannel(server->port()));
  std::vector<std::unique_ptr<OpenStream>> streams;
  for (int i = 0; i < 64; ++i) {
    streams.push_back(std::make_unique<OpenStream>(*stub));
    ASSERT_TRUE(streams.back()->Begun()) << i;
  }
  OpenStream refused(*stub, milliseconds(300));
  EXPECT_FALSE(refused.Begun());
  EXPECT_EQ(refused.reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // Opening one blocks until it has been sent.
  auto waiting = std::async(std::launch::async, [&] {
    OpenStream next(*stub);
    const bool begun = next.Begun();
    next.context.TryCancel();
    return begun;
  });
  streams.front()->context.TryCancel();
  EXPECT_TRUE(waiting.get());
  for (auto& stream : streams) stream->context.TryCancel();
}

// A client of frames that this limit must send away, and when: never before `limit`.
struct TimeCase {
  std::string name;
  std::function<void(ServerOptions&, milliseconds)> set;
  std::function<void(RawHttp2&)> behave;
};

class ConnectionTimeTest : public ::testing::TestWithParam<TimeCase> {};

TEST_P(ConnectionTimeTest, ClosesAtItsTimeAndNotBefore) {
  constexpr milliseconds kLimit{400};
  EndlessService service;
  ServerOptions options;
  GetParam().set(options, kLimit);
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start(options, {&service}));
  const auto begin = steady_clock::now();
  RawHttp2 connection(server->port());
  ASSERT_TRUE(connection.connected());
  GetParam().behave(connection);
  EXPECT_TRUE(connection.ReadUntilClosed(kPatience));
  // gRPC rounds its timers to milliseconds of a clock of its own.
  EXPECT_GE(steady_clock::now() - begin + milliseconds(10), kLimit);
}

constexpr char kWatch[] = "/atelier.v1.RegistryService/WatchPromoted";

INSTANTIATE_TEST_SUITE_P(
    Limits, ConnectionTimeTest,
    ::testing::Values(
        TimeCase{"Handshake", [](auto& o, milliseconds limit) { o.handshake = limit; },
                 [](RawHttp2&) {}},
        TimeCase{"HalfAHandshake", [](auto& o, milliseconds limit) { o.handshake = limit; },
                 [](RawHttp2& c) { c.Send("PRI * HT"); }},
        TimeCase{"Idle", [](auto& o, milliseconds limit) { o.connection_idle = limit; },
                 [](RawHttp2& c) { c.Greet(); }},
        // Half-open: a call is under way, and the peer answers no ping.
        TimeCase{"Keepalive",
                 [](auto& o, milliseconds limit) {
                   o.keepalive = limit / 2;
                   o.keepalive_timeout = limit - limit / 2;
                 },
                 [](RawHttp2& c) {
                   c.Greet();
                   c.BeginCall(1, kWatch);
                   c.SendData(1, RawHttp2::Message(""), true);
                 }}),
    [](const auto& test) { return test.param.name; });

TEST(PingLimit, TooManyPingsAreSentAway) {
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start({}, {}));
  RawHttp2 connection(server->port());
  connection.Greet();
  const auto end = steady_clock::now() + kPatience;  // far less than an idle connection may live
  bool closed = false;
  while (!closed && steady_clock::now() < end) {
    connection.Ping();
    closed = connection.ReadUntilClosed(milliseconds(20));
  }
  EXPECT_TRUE(closed);
  EXPECT_GT(connection.Received(Http2Frame::kGoAway), 0);
}

TEST(PingLimit, AsManyAsItAllowsAreAnswered) {
  ServerOptions options;
  options.min_ping_interval = milliseconds(1);
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start(options, {}));
  RawHttp2 connection(server->port());
  connection.Greet();
  for (int i = 1; i <= 20; ++i) {
    connection.Ping();
    const auto end = steady_clock::now() + kPatience;
    // The next one only after the answer to this one, and more than a millisecond later.
    do {
      ASSERT_FALSE(connection.ReadUntilClosed(milliseconds(5))) << "at ping " << i;
    } while (connection.Received(Http2Frame::kPing) < i && steady_clock::now() < end);
    ASSERT_EQ(connection.Received(Http2Frame::kPing), i);
  }
}

}  // namespace
}  // namespace atelier::rpc
