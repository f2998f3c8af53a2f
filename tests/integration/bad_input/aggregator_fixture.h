// An aggregator on loopback with two members of its own.
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

class PictureServer {
 public:
  explicit PictureServer(const vision::DecodeLimits& limits = {}) {
    const std::vector<SeededMember> members = {
        MakeSeededMember("first", "tiny_cnn", 32, 1).value(),
        MakeSeededMember("second", "tiny_cnn", 48, 2).value()};
    EXPECT_THAT(WriteRunDirectory(dir_.path(), MakeSeededVersion("seeded", members), members),
                atelier::testing::IsOk());
    ServiceOptions options;
    options.run_directory = dir_.path();
    options.limits.picture = limits;
    const auto channels = rpc::MakeTcpChannelFactory();
    service_ = Service::Create(options, channels).value();
    rpc::ServerOptions server_options;
    server_options.max_receive_bytes = rpc::kPictureReceiveBytes;
    server_ = rpc::RpcServer::Start(server_options, service_->services()).value();
    EXPECT_THAT(service_->Start(), atelier::testing::IsOk());
    EXPECT_THAT(service_->WaitServed(kCallTimeout), atelier::testing::IsOk());
    const auto channel = channels->Connect("127.0.0.1:" + std::to_string(server_->port()));
    oip = std::make_unique<OipClient>(channel);
    client = AggregatorClient::Create(channel);
  }

  // The combined probabilities as bytes.
  absl::StatusOr<std::string> Predict(const std::vector<std::string>& pictures) {
    v1::AggregatorPredictRequest request;
    *request.mutable_images() = {pictures.begin(), pictures.end()};
    ATELIER_ASSIGN_OR_RETURN(const auto response, client->Predict(request));
    return response.probabilities().data();
  }
  absl::StatusOr<std::string> Infer(const inference::ModelInferRequest& request) {
    ATELIER_ASSIGN_OR_RETURN(const auto response, oip->Infer(request));
    return response.raw_output_contents(0);
  }

 private:
  const atelier::testing::TempDir dir_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<rpc::RpcServer> server_;  // destroyed before the service

 public:
  std::unique_ptr<OipClient> oip;
  std::unique_ptr<AggregatorClient> client;
};

}  // namespace atelier::aggregator
