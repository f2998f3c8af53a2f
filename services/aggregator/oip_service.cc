#include "services/aggregator/oip_service.h"

#include <atomic>
#include <utility>

#include "common/rpc/status.h"
#include "inference/grpc_predict_v2.grpc.pb.h"
#include "services/aggregator/bounded_service.h"
#include "services/aggregator/call_wire.h"
#include "services/aggregator/oip_response.h"
#include "services/aggregator/oip_stream.h"

namespace atelier::aggregator {
namespace {

constexpr char kServerName[] = "atelier";
constexpr char kServerVersion[] = "0.1.0";

const google::protobuf::ServiceDescriptor& Descriptor() {
  return *inference::ModelInferRequest::descriptor()->file()->FindServiceByName(
      "GRPCInferenceService");
}

// Triton's calls without a method here answer UNIMPLEMENTED.
class Handlers final : public BoundedService<inference::GRPCInferenceService::CallbackService> {
 public:
  explicit Handlers(const Serving& serving)
      : BoundedService(Descriptor()), serving_(serving), streams_(serving) {
    Bind("ServerLive", &Handlers::ServerLive);
    Bind("ServerReady", &Handlers::ServerReady);
    Bind("ModelReady", &Handlers::ModelReady);
    Bind("ServerMetadata", &Handlers::ServerMetadata);
    Bind("ModelMetadata", &Handlers::ModelMetadata);
    Bind("ModelConfig", &Handlers::ModelConfig);
    Bind("ModelInfer", &Handlers::ModelInfer);
    BindStream<inference::ModelInferRequest, inference::ModelStreamInferResponse>(
        "ModelStreamInfer",
        [this](grpc::CallbackServerContext* context) { return streams_.Open(context); });
  }

  void Drain() {
    draining_ = true;
    streams_.Close();
  }

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest*,
                                       inference::ServerLiveResponse* response) override {
    response->set_live(true);
    return Finished(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest*,
                                        inference::ServerReadyResponse* response) override {
    response->set_ready(!draining_);
    return Finished(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override {
    response->set_ready(!draining_ && Find(*request).ok());
    return Finished(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest*,
                                           inference::ServerMetadataResponse* response) override {
    response->set_name(kServerName);
    response->set_version(kServerVersion);
    response->add_extensions("model_configuration");
    return Finished(context, grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override {
    const absl::StatusOr<ServedModel> model = Find(*request);
    if (model.ok()) *response = MakeOipMetadata(*model);
    return Finished(context, rpc::ToGrpcStatus(model.status()));
  }

  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* context,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override {
    const absl::StatusOr<ServedModel> model = Find(*request);
    if (model.ok()) {
      *response->mutable_config() = MakeOipConfig(*model, serving_.engine.limits().max_pictures);
    }
    return Finished(context, rpc::ToGrpcStatus(model.status()));
  }

  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    OipInfer(
        serving_, "oip", *request, DeadlineOf(*context, serving_.engine.limits().imposed_deadline),
        [context] { return context->IsCancelled(); },
        [context, reactor, response](absl::StatusOr<inference::ModelInferResponse> answer) {
          const absl::Status status = answer.status();
          if (answer.ok()) *response = *std::move(answer);
          reactor->Finish(ToCallStatus(status, *context));
        });
    return reactor;
  }

 private:
  template <typename Request>
  absl::StatusOr<ServedModel> Find(const Request& request) const {
    return FindModel(serving_.versions, request.name(), request.version());
  }

  const Serving serving_;
  OipStreams streams_;
  std::atomic<bool> draining_{false};
};

class OipServiceImpl final : public OipService {
 public:
  explicit OipServiceImpl(const Serving& serving) : handlers_(serving) {}
  grpc::Service& service() override { return handlers_; }
  void Drain() override { handlers_.Drain(); }

 private:
  Handlers handlers_;
};

}  // namespace

std::unique_ptr<OipService> OipService::Create(const Serving& serving) {
  return std::make_unique<OipServiceImpl>(serving);
}

}  // namespace atelier::aggregator
