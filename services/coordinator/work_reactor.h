// The coordinator's end of one trainer's work stream.
#pragma once

#include <grpcpp/server_context.h>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/concurrency/worker_pool.h"
#include "services/coordinator/run_executor.h"

namespace atelier::coordinator {

// Deletes itself when the stream is done.
grpc::ServerBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage>* NewWorkReactor(
    RunExecutor& executor, WorkerPool& pool, grpc::CallbackServerContext& context);

}  // namespace atelier::coordinator
