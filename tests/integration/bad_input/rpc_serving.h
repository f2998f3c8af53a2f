// A real aggregator on loopback with two members of tiny_cnn, for tests that treat it badly: after
// each bad turn ExpectNextGoodRequestSucceeds().
#pragma once

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "common/rpc/channel.h"
#include "common/rpc/limits.h"
#include "common/rpc/server.h"
#include "services/aggregator/client.h"
#include "services/aggregator/service.h"
#include "tests/integration/aggregator/oip_client.h"
#include "tests/integration/aggregator/seeded_members.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::aggregator {

class BadRpcTest : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds kPatience{60};

  // One server for a suite: it must outlive every case.
  static void SetUpTestSuite() { ASSERT_NO_FATAL_FAILURE(StartServing({}, {})); }
  static void TearDownTestSuite() { serving_.reset(); }

  static void StartServing(ServiceOptions options, rpc::ServerOptions server_options) {
    serving_ = std::make_unique<Serving>();
    Serving& s = *serving_;
    std::vector<SeededMember> members;
    for (const auto& [name, size] : {std::pair{"first", 32}, {"second", 48}}) {
      ASSERT_OK_AND_ASSIGN(members.emplace_back(),
                           MakeSeededMember(name, "tiny_cnn", size, members.size()));
    }
    ASSERT_THAT(WriteRunDirectory(s.dir.path(), MakeSeededVersion("seeded", members), members),
                atelier::testing::IsOk());
    options.run_directory = s.dir.path();
    s.channels = rpc::MakeTcpChannelFactory();
    ASSERT_OK_AND_ASSIGN(s.service, Service::Create(options, s.channels));
    server_options.max_receive_bytes = rpc::kPictureReceiveBytes;
    ASSERT_OK_AND_ASSIGN(s.server, rpc::RpcServer::Start(server_options, s.service->services()));
    ASSERT_THAT(s.service->Start(), atelier::testing::IsOk());
    ASSERT_THAT(s.service->WaitServed(kPatience), atelier::testing::IsOk());
    const auto channel = s.channels->Connect("127.0.0.1:" + std::to_string(s.server->port()));
    s.oip = std::make_unique<OipClient>(channel);
    s.client = AggregatorClient::Create(channel);
  }

  static OipClient& oip() { return *serving_->oip; }
  static AggregatorClient& client() { return *serving_->client; }
  static int port() { return serving_->server->port(); }
  static const std::string& picture() {
    static const auto* const png = new std::string(MakePicture(1));
    return *png;
  }

  static void ExpectNextGoodRequestSucceeds() {
    EXPECT_THAT(oip().Infer(MakeImageRequest({picture()})), atelier::testing::IsOk());
  }
  // One request in a stream of its own; the stream must go on after it.
  static std::string StreamError(const inference::ModelInferRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto stream = oip().stub->ModelStreamInfer(&context);
    inference::ModelStreamInferResponse bad;
    inference::ModelStreamInferResponse good;
    EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->Write(MakeImageRequest({picture()})));
    stream->WritesDone();
    EXPECT_TRUE(stream->Read(&bad));
    EXPECT_TRUE(stream->Read(&good));
    EXPECT_EQ(good.error_message(), "");
    EXPECT_TRUE(stream->Finish().ok());
    return bad.error_message();
  }

 private:
  struct Serving {
    atelier::testing::TempDir dir;
    std::shared_ptr<rpc::ChannelFactory> channels;
    std::unique_ptr<Service> service;
    std::unique_ptr<rpc::RpcServer> server;  // destroyed before the service
    std::unique_ptr<OipClient> oip;
    std::unique_ptr<AggregatorClient> client;
  };
  inline static std::unique_ptr<Serving> serving_;
};

}  // namespace atelier::aggregator
