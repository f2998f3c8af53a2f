// One way to write a unary handler of the callback API: the work runs on a pool's thread, never in
// the reaction, and its status becomes the call's.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/status.h"
#include "common/concurrency/worker_pool.h"
#include "common/rpc/status.h"

namespace atelier::rpc {

// `work() -> absl::Status`; request and response stay alive until the call is finished.
template <typename Work>
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context, WorkerPool& pool,
                                   Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool accepted = pool.Submit(
      [reactor, work = std::move(work)]() mutable { reactor->Finish(ToGrpcStatus(work())); });
  if (!accepted)
    reactor->Finish({grpc::StatusCode::UNAVAILABLE, "busy or shutting down; try again"});
  return reactor;
}

}  // namespace atelier::rpc
