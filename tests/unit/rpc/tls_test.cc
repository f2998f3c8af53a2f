#include "common/rpc/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <httplib.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <prometheus/registry.h>
#include <sys/resource.h>
#include <unistd.h>

#include <functional>
#include <future>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/health.h"
#include "common/rpc/server.h"
#include "tests/testing/log_lines.h"
#include "tests/unit/rpc/tls_folder.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::LogLines;
using ::atelier::testing::PemPair;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TestAuthority;
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::chrono::seconds kPatience{60};
// Longer than gRPC's own second between two looks.
constexpr milliseconds kLongEnoughToNotice{1'500};
// A second for each answer, also on a busy machine.
constexpr milliseconds kWatchdog{3'000};
// By then it would have given up on a port that answers none of its questions.
constexpr milliseconds kWatchdogHasAsked{4'500};

// Says which of the caller's ports it was called from: the same one, the same connection.
class EchoService final : public v1::AggregatorService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServedEnsemble(grpc::CallbackServerContext* context,
                                              const v1::GetServedEnsembleRequest*,
                                              v1::ServedEnsemble* response) override {
    response->mutable_ensemble()->set_name(context->peer());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

struct Answer {
  grpc::Status status;
  std::string connection;   // as the server sees it
  std::string certificate;  // that the server showed
};

Answer Call(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::ServedEnsemble response;
  Answer answer;
  answer.status =
      v1::AggregatorService::NewStub(channel)->GetServedEnsemble(&context, {}, &response);
  answer.connection = response.ensemble().name();
  if (!answer.status.ok()) return answer;
  const auto shown = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!shown.empty()) answer.certificate = std::string(shown[0].data(), shown[0].size());
  return answer;
}

template <typename Condition>
::testing::AssertionResult Eventually(Condition condition) {
  const auto deadline = steady_clock::now() + kPatience;
  while (steady_clock::now() < deadline) {
    if (condition()) return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "not within " << kPatience.count() << " s";
}

class MutualTls : public ::testing::Test {
 protected:
  std::unique_ptr<RpcServer> Serve(const TlsFolder& folder, ServerOptions options = {}) {
    options.tls = folder.Load();
    auto server = RpcServer::Start(options, {&service_});
    EXPECT_THAT(server, testing::IsOk());
    return *std::move(server);
  }

  static std::string AddressOf(const RpcServer& server) {
    return "127.0.0.1:" + std::to_string(server.port());
  }
  std::string Address() const { return AddressOf(*server_); }

  // Over a connection of its own.
  Answer CallAs(const std::shared_ptr<const TlsIdentity>& identity,
                PeerName peer_name = PeerName::kChecked) const {
    return Call(
        MakeTcpChannelFactory({.tls = identity, .peer_name = peer_name})->Connect(Address()));
  }

  EchoService service_;
  TestAuthority authority_{"authority"};
  TestAuthority stranger_{"stranger"};
  const std::string both_ = authority_.certificate() + stranger_.certificate();
  PemPair server_pair_ = authority_.Issue({.subject = "server"});
  TlsFolder server_folder_{server_pair_, authority_.certificate()};
  TlsFolder friend_folder_{authority_};
  std::unique_ptr<RpcServer> server_ = Serve(server_folder_);
  std::shared_ptr<const TlsIdentity> friend_ = friend_folder_.Load();
};

TEST_F(MutualTls, PeersOfOneAuthorityTalkWithEitherFormOfAddress) {
  const auto channels = MakeTcpChannelFactory({.tls = friend_});
  for (const std::string& address :
       {Address(), "https://" + Address(), "localhost:" + std::to_string(server_->port())}) {
    const Answer answer = Call(channels->Connect(address));
    EXPECT_TRUE(answer.status.ok()) << address << ": " << answer.status.error_message();
    EXPECT_EQ(answer.certificate, server_pair_.certificate);
  }
}

TEST_F(MutualTls, OthersAreRefusedAndTheNextFriendIsAnswered) {
  const auto with = [&](const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    return Call(grpc::CreateChannel(Address(), credentials));
  };
  // They all take the server: it is the server that refuses them.
  const TlsFolder strangers(stranger_.Issue(), both_);
  const std::vector<std::pair<std::string, std::function<Answer()>>> others = {
      {"no certificate",
       [&] { return with(grpc::SslCredentials({authority_.certificate(), "", ""})); }},
      {"another authority's", [&] { return CallAs(strangers.Load()); }},
      {"plain text", [&] { return CallAs(nullptr); }},
      {"plain text", [&] { return with(grpc::InsecureChannelCredentials()); }},
  };
  for (const auto& [who, call] : others) {
    EXPECT_EQ(call().status.error_code(), grpc::UNAVAILABLE) << who;
    const Answer good = CallAs(friend_);
    EXPECT_TRUE(good.status.ok()) << "after " << who << ": " << good.status.error_message();
  }
}

TEST_F(MutualTls, AServerOfAnotherAuthorityOrAnotherNameIsNotSpokenTo) {
  const auto strangers = TlsFolder(stranger_).Load();
  EXPECT_EQ(CallAs(strangers).status.error_code(), grpc::UNAVAILABLE);
  server_ =
      Serve(TlsFolder(authority_.Issue({.names = "DNS:elsewhere"}), authority_.certificate()));
  const grpc::Status refused = CallAs(friend_).status;
  EXPECT_EQ(refused.error_code(), grpc::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("Hostname Verification"));
  EXPECT_TRUE(CallAs(friend_, PeerName::kAny).status.ok());
  EXPECT_EQ(CallAs(strangers, PeerName::kAny).status.error_code(), grpc::UNAVAILABLE);
}

// A container's certificate is made out to its service's name, its probes ask loopback.
TEST_F(MutualTls, ProbesOfTheOwnPortNeedNoNameAndTheListenerNoInsecure) {
  std::promise<void> unanswered;
  ServerOptions options;
  options.listen = "0.0.0.0:0";
  options.watchdog = kWatchdog;
  options.unanswered = [&] { unanswered.set_value(); };
  server_ = Serve(TlsFolder(authority_.Issue({.names = "DNS:trainer"}), authority_.certificate()),
                  options);
  EXPECT_THAT(AskHealth(Address(), kPatience, {.tls = friend_}), IsOkAndHolds(false));
  server_->SetServing(true);
  EXPECT_THAT(AskHealth(Address(), kPatience, {.tls = friend_}), IsOkAndHolds(true));
  EXPECT_THAT(AskHealth(Address(), milliseconds(500), {.tls = nullptr}), Not(testing::IsOk()));
  EXPECT_EQ(unanswered.get_future().wait_for(kWatchdogHasAsked), std::future_status::timeout);
  server_.reset();
}

// An address of this machine that others reach it by; empty when it has none. The first: what comes
// later may be a bridge of containers, which goes with them.
std::string OuterAddress() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return "";
  std::string found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_LOOPBACK) != 0 || (one->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    found = ::inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
  }
  ::freeifaddrs(all);
  return found;
}

TEST_F(MutualTls, TheWatchdogNeedsNoNameBeyondLoopbackEither) {
  const std::string host = OuterAddress();
  if (host.empty()) GTEST_SKIP() << "this machine has no address beyond loopback";
  std::promise<void> unanswered;
  ServerOptions options;
  options.listen = host + ":0";
  options.watchdog = kWatchdog;
  options.unanswered = [&] { unanswered.set_value(); };
  server_ = Serve(TlsFolder(authority_.Issue({.names = "DNS:trainer"}), authority_.certificate()),
                  options);
  const std::string address = host + ":" + std::to_string(server_->port());
  EXPECT_THAT(AskHealth(address, kPatience, {.tls = friend_}), Not(testing::IsOk()));
  const ChannelOptions any_name{.tls = friend_, .peer_name = PeerName::kAny};
  EXPECT_THAT(AskHealth(address, kPatience, any_name), IsOkAndHolds(false));
  EXPECT_EQ(unanswered.get_future().wait_for(kWatchdogHasAsked), std::future_status::timeout);
  server_.reset();
}

TEST_F(MutualTls, MetricsStayOnLoopbackUnlessTold) {
  for (const bool insecure_metrics : {false, true}) {
    ServerOptions options;
    options.listen = "0.0.0.0:0";
    options.metrics = std::make_shared<prometheus::Registry>();
    options.http_port = 0;
    options.insecure_metrics = insecure_metrics;
    server_ = Serve(server_folder_, options);
    EXPECT_TRUE(httplib::Client("127.0.0.1", server_->http_port()).Get("/metrics"));
    // Reaches listeners of every address, not those of 127.0.0.1.
    const bool elsewhere{httplib::Client("127.0.0.2", server_->http_port()).Get("/metrics")};
    EXPECT_EQ(elsewhere, insecure_metrics);
  }
}

TEST_F(MutualTls, IsNotAskedForTogetherWithPlainText) {
  ServerOptions options;
  options.tls = server_folder_.Load();
  options.insecure = true;
  EXPECT_THAT(RpcServer::Start(options, {&service_}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--insecure")));
}

TEST_F(MutualTls, AnIdentityThatCouldNotBeLoadedNeverMeansPlainText) {
  ASSERT_OK_AND_ASSIGN(const auto plain, RpcServer::Start({}, {&service_}));
  ASSERT_TRUE(
      Call(MakeTcpChannelFactory({.tls = nullptr})->Connect(AddressOf(*plain))).status.ok());
  const auto channels = MakeTcpChannelFactory({.tls = absl::InvalidArgumentError("no key")});
  EXPECT_FALSE(Call(channels->Connect(AddressOf(*plain))).status.ok());
}

TEST_F(MutualTls, InProcessChannelsNeedNone) {
  const auto channels = MakeInProcessChannels({.tls = friend_});
  channels->Add("echo", server_->server());
  EXPECT_TRUE(Call(channels->Connect("inproc:echo")).status.ok());
}

TEST_F(MutualTls, ANewCertificateIsShownToNewConnectionsAndRunningOnesGoOn) {
  const auto running = MakeTcpChannelFactory({.tls = friend_})->Connect(Address());
  const Answer before = Call(running);
  ASSERT_TRUE(before.status.ok());
  const PemPair renewed = authority_.Issue({.subject = "renewed"});
  server_folder_.Put(renewed, authority_.certificate());
  EXPECT_TRUE(Eventually([&] {
    const Answer fresh = CallAs(friend_);
    EXPECT_TRUE(fresh.status.ok()) << fresh.status.error_message();
    return fresh.certificate == renewed.certificate;
  }));
  const Answer after = Call(running);
  EXPECT_TRUE(after.status.ok()) << after.status.error_message();
  EXPECT_EQ(after.connection, before.connection);
  EXPECT_EQ(after.certificate, server_pair_.certificate);
}

TEST_F(MutualTls, AnAuthorityIsAddedAndTakenAwayWithoutARestart) {
  const auto stranger = TlsFolder(stranger_.Issue(), both_).Load();
  const auto running = MakeTcpChannelFactory({.tls = friend_})->Connect(Address());
  const Answer before = Call(running);
  ASSERT_TRUE(before.status.ok());
  ASSERT_FALSE(CallAs(stranger).status.ok());
  server_folder_.Put("ca.pem", both_);
  EXPECT_TRUE(Eventually([&] { return CallAs(stranger).status.ok(); }));
  EXPECT_TRUE(CallAs(friend_).status.ok());
  // The friend takes the server's new authority, but is not taken any more.
  friend_folder_.Put("ca.pem", both_);
  server_folder_.Put(stranger_.Issue(), stranger_.certificate());
  EXPECT_TRUE(Eventually([&] { return !CallAs(friend_).status.ok(); }));
  EXPECT_TRUE(Eventually([&] { return CallAs(stranger).status.ok(); }));
  const Answer after = Call(running);
  EXPECT_TRUE(after.status.ok()) << after.status.error_message();
  EXPECT_EQ(after.connection, before.connection);
}

TEST_F(MutualTls, AChannelReconnectsWithWhatItsFilesHoldThen) {
  const auto channel = MakeTcpChannelFactory({.tls = friend_})->Connect(Address());
  ASSERT_TRUE(Call(channel).status.ok());
  ServerOptions options;
  options.listen = Address();
  server_->Shutdown(milliseconds(0));
  server_.reset();
  server_ = Serve(TlsFolder(stranger_), options);
  ASSERT_FALSE(Call(channel).status.ok());
  friend_folder_.Put(stranger_.Issue(), stranger_.certificate());
  EXPECT_TRUE(Eventually([&] { return Call(channel).status.ok(); }));
}

TEST_F(MutualTls, FilesThatAreBrokenChangeNothingAndAreLoggedOnce) {
  const PemPair renewed = authority_.Issue({.subject = "renewed"});
  const std::vector<std::pair<std::string, std::function<void()>>> breakages = {
      {"is cut or damaged",
       [&] { server_folder_.Put("cert.pem", renewed.certificate.substr(0, 300)); }},
      {"is not the key of", [&] { server_folder_.Put("cert.pem", renewed.certificate); }},
      {"No such file", [&] { std::filesystem::remove(server_folder_.files().authority); }},
  };
  for (const auto& [complaint, damage] : breakages) {
    const LogLines log;
    damage();
    ASSERT_TRUE(Eventually([&, &text = complaint] { return log.Count(text) > 0; })) << complaint;
    const auto end = steady_clock::now() + kLongEnoughToNotice;
    while (steady_clock::now() < end) {
      const Answer answer = CallAs(friend_);
      ASSERT_TRUE(answer.status.ok()) << complaint << ": " << answer.status.error_message();
      ASSERT_EQ(answer.certificate, server_pair_.certificate);
    }
    EXPECT_EQ(log.Count(complaint), 1);
    EXPECT_EQ(log.Count("stays in use"), 1);
  }
  server_folder_.Put(renewed, authority_.certificate());
  EXPECT_TRUE(Eventually([&] { return CallAs(friend_).certificate == renewed.certificate; }));
}

// The limit is below the numbers of the identity's memory files: nothing can be put in their place.
TEST_F(MutualTls, WhatCouldNotBePutIntoMemoryIsLoggedAndTriedAgain) {
  server_.reset();
  std::vector<int> low;
  for (int i = 0; i < 100; ++i) low.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_GT(low.back(), 0);
  server_ = Serve(server_folder_);
  for (const int fd : low) ::close(fd);
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  const rlimit lowered{static_cast<rlim_t>(low.back()) + 1, usual.rlim_max};
  const PemPair renewed = authority_.Issue({.subject = "renewed"});
  const LogLines log;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
  server_folder_.Put(renewed, authority_.certificate());
  EXPECT_TRUE(Eventually(
      [&] { return log.Count("memory for TLS") + log.Count("files that have changed") > 0; }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  EXPECT_EQ(log.Count("memory for TLS"), 1);
  EXPECT_TRUE(Eventually([&] { return CallAs(friend_).certificate == renewed.certificate; }));
}

TEST_F(MutualTls, CredentialsOutliveTheirIdentity) {
  const auto credentials = friend_->ForChannel(PeerName::kChecked);
  friend_.reset();
  grpc::ChannelArguments own_connection;
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto end = steady_clock::now() + kLongEnoughToNotice;
  while (steady_clock::now() < end) {
    const Answer answer = Call(grpc::CreateCustomChannel(Address(), credentials, own_connection));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  }
}

}  // namespace
}  // namespace atelier::rpc
