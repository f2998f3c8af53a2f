// RELIABILITY, "RPC": missing deadline; and P11: a clean stop. A member that hangs holds up neither
// a call nor the process's end.
#include <future>

#include "tests/integration/aggregator/oip_client.h"
#include "tests/integration/bad_input/hanging_member.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::std::chrono::milliseconds;
using ::std::chrono::steady_clock;
using ::testing::HasSubstr;

TEST_F(HangingMemberTest, AMissingDeadlineIsImposedAndTheCallEndsUnavailableWithinIt) {
  constexpr milliseconds kImposed{1500};
  EXPECT_EQ(RequestLimits().imposed_deadline, std::chrono::seconds(30));
  ServiceOptions options = Options();
  options.limits.imposed_deadline = kImposed;
  ASSERT_OK_AND_ASSIGN(const auto service, Service::Create(options, channels));
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::RpcServer::Start({}, service->services()));
  ASSERT_THAT(service->Start(), IsOk());
  ASSERT_THAT(service->WaitServed(kPatience), IsOk());

  const OipClient oip(channels->Connect(Address(*server)));
  const auto begin = steady_clock::now();
  grpc::ClientContext context;  // no deadline
  inference::ModelInferResponse response;
  EXPECT_THAT(rpc::FromGrpcStatus(
                  oip.stub->ModelInfer(&context, MakeImageRequest({MakePicture(1)}), &response)),
              StatusIs(absl::StatusCode::kUnavailable));
  grpc::ClientContext stream_context;
  const auto stream = oip.stub->ModelStreamInfer(&stream_context);
  inference::ModelStreamInferResponse answer;
  ASSERT_TRUE(stream->Write(MakeImageRequest({MakePicture(1)})));
  stream->WritesDone();
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_THAT(answer.error_message(), ::testing::StartsWith("UNAVAILABLE"));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_LT(steady_clock::now() - begin, 2 * kImposed + std::chrono::seconds(5));
}

TEST_F(HangingMemberTest, ADrainCutsOffWhatHasMinutesLeft) {
  AggregatorOptions options;
  options.service = Options();
  options.channels = channels;
  options.server.http_port = 0;
  options.wait_served = kPatience;
  ASSERT_OK_AND_ASSIGN(const auto server, AggregatorServer::Start(std::move(options)));
  OipClient oip(channels->Connect(Address(server->server())));
  auto unary = std::async(std::launch::async, [&] {
    return oip.Infer(MakeImageRequest({MakePicture(1)}), std::chrono::seconds(120)).status();
  });
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
  const auto stream = oip.stub->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(MakeImageRequest({MakePicture(2)})));
  trainer.WaitAsked(3);  // by the warm-up, the call and the stream

  const auto begin = steady_clock::now();
  server->Drain(milliseconds(200));
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(3));
  EXPECT_THAT(unary.get(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shutting down")));
  inference::ModelStreamInferResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_THAT(answer.error_message(), ::testing::StartsWith("UNAVAILABLE"));
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace atelier::aggregator
