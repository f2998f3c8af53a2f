#include "services/aggregator/client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "atelier/v1/aggregator.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"

namespace atelier::aggregator {
namespace {

constexpr std::chrono::seconds kGetServedTimeout{10};

class AggregatorClientImpl final : public AggregatorClient {
 public:
  explicit AggregatorClientImpl(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::AggregatorService::NewStub(channel)) {}

  absl::StatusOr<v1::AggregatorPredictResponse> Predict(
      const v1::AggregatorPredictRequest& request, std::chrono::milliseconds timeout) override {
    return Call<v1::AggregatorPredictResponse>(
        timeout, [&](grpc::ClientContext& context, v1::AggregatorPredictResponse& response) {
          return stub_->Predict(&context, request, &response);
        });
  }

  absl::StatusOr<v1::ServedEnsemble> GetServed() override {
    return Call<v1::ServedEnsemble>(
        kGetServedTimeout, [&](grpc::ClientContext& context, v1::ServedEnsemble& response) {
          return stub_->GetServedEnsemble(&context, {}, &response);
        });
  }

 private:
  // Both calls are idempotent. The deadline holds over all attempts.
  template <typename Response, typename Attempt>
  absl::StatusOr<Response> Call(std::chrono::milliseconds timeout, Attempt attempt) {
    const auto deadline = std::chrono::system_clock::now() + timeout;
    // A back-off that would end after the deadline is not begun.
    const rpc::Sleeper sleep = [deadline, real = rpc::RealSleeper()](auto wait) {
      return std::chrono::system_clock::now() + wait < deadline && real(wait);
    };
    Response response;
    ATELIER_RETURN_IF_ERROR(rpc::RetryUnavailable({}, sleep, [&] {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      response.Clear();
      return rpc::FromGrpcStatus(attempt(context, response));
    }));
    return response;
  }

  const std::unique_ptr<v1::AggregatorService::Stub> stub_;
};

}  // namespace

std::unique_ptr<AggregatorClient> AggregatorClient::Create(std::shared_ptr<grpc::Channel> channel) {
  return std::make_unique<AggregatorClientImpl>(channel);
}

}  // namespace atelier::aggregator
