// A plain Open Inference Protocol client for tests.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/rpc/status.h"
#include "inference/grpc_predict_v2.grpc.pb.h"

namespace atelier::aggregator {

constexpr std::chrono::seconds kCallTimeout{60};

inline void AppendElement(std::string& raw, const std::string& bytes) {
  for (int shift = 0; shift < 32; shift += 8) {
    raw.push_back(static_cast<char>(bytes.size() >> shift));
  }
  raw += bytes;
}

inline inference::ModelInferRequest MakeImageRequest(const std::vector<std::string>& pictures,
                                                     const std::string& model = "ensemble") {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  auto& input = *request.add_inputs();
  input.set_name("image");
  input.set_datatype("BYTES");
  input.add_shape(static_cast<int64_t>(pictures.size()));
  std::string& raw = *request.add_raw_input_contents();
  for (const std::string& picture : pictures) AppendElement(raw, picture);
  return request;
}

class OipClient {
 public:
  explicit OipClient(const std::shared_ptr<grpc::Channel>& channel)
      : stub(inference::GRPCInferenceService::NewStub(channel)) {}

  absl::StatusOr<inference::ModelInferResponse> Infer(
      const inference::ModelInferRequest& request,
      std::chrono::milliseconds timeout = kCallTimeout) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    inference::ModelInferResponse response;
    const grpc::Status status = stub->ModelInfer(&context, request, &response);
    if (!status.ok()) return rpc::FromGrpcStatus(status);
    return response;
  }

  const std::unique_ptr<inference::GRPCInferenceService::Stub> stub;
};

}  // namespace atelier::aggregator
