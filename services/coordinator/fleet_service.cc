#include "services/coordinator/fleet_service.h"

#include "common/rpc/unary.h"
#include "services/coordinator/work_reactor.h"

namespace atelier::coordinator {

std::string CompleteAddress(const std::string& address, const std::string& peer) {
  if (address.empty() || address.front() != ':') return address;
  const size_t scheme = peer.find(':');
  const size_t port = peer.rfind(':');
  if (scheme == std::string::npos || port <= scheme) return "127.0.0.1" + address;
  std::string host = peer.substr(scheme + 1, port - scheme - 1);
  // gRPC writes the brackets of an IPv6 host percent-encoded.
  if (host.rfind("%5B", 0) == 0 && host.size() > 6)
    host = "[" + host.substr(3, host.size() - 6) + "]";
  return host + address;
}

grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage>* FleetServiceImpl::Work(
    grpc::CallbackServerContext* context) {
  return NewWorkReactor(executor_, pool_, *context);
}

grpc::ServerUnaryReactor* FleetServiceImpl::CommitCheckpoint(
    grpc::CallbackServerContext* context, const v1::CommitCheckpointRequest* request,
    v1::CommitCheckpointResponse*) {
  return rpc::RunUnary(context, pool_,
                       [this, request] { return executor_.CommitCheckpoint(*request); });
}

grpc::ServerUnaryReactor* FleetServiceImpl::FinishTask(grpc::CallbackServerContext* context,
                                                       const v1::FinishTaskRequest* request,
                                                       v1::FinishTaskResponse*) {
  // After a failure it looks for damage in whole checkpoints.
  return rpc::RunUnary(context, slow_, [this, request] { return executor_.FinishTask(*request); });
}

grpc::ServerUnaryReactor* FleetServiceImpl::RegisterDataService(
    grpc::CallbackServerContext* context, const v1::RegisterDataServiceRequest* request,
    v1::RegisterDataServiceResponse* response) {
  return rpc::RunUnary(
      context, pool_, [this, request, response, peer = std::string(context->peer())] {
        if (request->id().empty() || request->id().size() > 128) {
          return absl::InvalidArgumentError("id: 1 to 128 characters");
        }
        if (request->address().empty() && !request->leaving()) {
          return absl::InvalidArgumentError("address: host:port, or :port for the peer's host");
        }
        v1::RegisterDataServiceRequest completed = *request;
        completed.set_address(CompleteAddress(request->address(), peer));
        executor_.RegisterDataService(completed);
        response->set_ttl_ms(static_cast<int>(executor_.options().data_service_ttl.count()));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* FleetServiceImpl::ListFleet(grpc::CallbackServerContext* context,
                                                      const v1::ListFleetRequest*,
                                                      v1::ListFleetResponse* response) {
  return rpc::RunUnary(context, pool_, [this, response] {
    *response = executor_.ListFleet();
    return absl::OkStatus();
  });
}

}  // namespace atelier::coordinator
