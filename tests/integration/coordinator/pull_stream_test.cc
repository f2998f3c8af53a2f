#include "services/coordinator/pull_stream.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <future>
#include <memory>
#include <string>

#include "atelier/v1/registry.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "tests/testing/full_pool.h"
#include "tests/testing/status_matchers.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;

// A download of one chunk, pulled on the pool.
class OneChunkService final : public v1::RegistryService::CallbackService {
 public:
  explicit OneChunkService(WorkerPool& pool) : pool_(pool) {}
  grpc::ServerWriteReactor<v1::GetArtifactResponse>* GetArtifact(
      grpc::CallbackServerContext*, const v1::GetArtifactRequest*) override {
    auto* stream = new PullStream<v1::GetArtifactResponse>(pool_, [] {
      Pulled<v1::GetArtifactResponse> pulled;
      pulled.messages.emplace_back().set_chunk("chunk");
      pulled.ended = true;
      return absl::StatusOr<Pulled<v1::GetArtifactResponse>>(std::move(pulled));
    });
    stream->Wake();
    return stream;
  }

 private:
  WorkerPool& pool_;
};

// Whoever wakes a stream holds locks that the pool's jobs wait for.
TEST(PullStream, AWakeThatFindsThePoolFullEndsTheStreamUnavailable) {
  WorkerPool pool(1, /*max_queued=*/1);
  OneChunkService service(pool);
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::RpcServer::Start({}, {&service}));
  const auto stub = v1::RegistryService::NewStub(
      rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" + std::to_string(server->port())));
  const auto read = [&] {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto reader = stub->GetArtifact(&context, {});
    v1::GetArtifactResponse response;
    while (reader->Read(&response)) {
    }
    return rpc::FromGrpcStatus(reader->Finish());
  };
  testing::FullPool full(pool);
  EXPECT_THAT(read(), StatusIs(absl::StatusCode::kUnavailable));
  full.Release();
  EXPECT_THAT(read(), IsOk());
}

}  // namespace
}  // namespace atelier::coordinator
