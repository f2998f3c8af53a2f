// The registry as embedded mode has it: no socket, and a disk that fills.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <string>

#include "atelier/v1/registry.grpc.pb.h"
#include "common/base/sha256.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "services/coordinator/registry_service.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/full_pool.h"
#include "tests/testing/memory_store.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::FullPool;
using ::atelier::testing::IsOk;
using ::atelier::testing::MemoryStore;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TempDir;

// For waits that end at once unless something is broken.
constexpr std::chrono::seconds kPatience{60};

// Has room for so many bytes of an upload.
class FillingStore final : public artifacts::ArtifactStore {
 public:
  explicit FillingStore(int64_t room) : room_(room) {}

  absl::StatusOr<std::unique_ptr<artifacts::ArtifactWriter>> Create(const std::string& digest,
                                                                    int64_t size) override {
    ATELIER_ASSIGN_OR_RETURN(auto writer, store_.Create(digest, size));
    return std::make_unique<Writer>(std::move(writer), room_);
  }
  absl::StatusOr<std::unique_ptr<artifacts::ArtifactReader>> Open(const std::string& digest,
                                                                  int64_t offset) override {
    return store_.Open(digest, offset);
  }
  absl::StatusOr<int64_t> Size(const std::string& digest) override { return store_.Size(digest); }
  absl::Status Touch(const std::string& digest) override { return store_.Touch(digest); }
  absl::Status Delete(const std::string& digest) override { return store_.Delete(digest); }
  absl::StatusOr<std::vector<artifacts::StoredArtifact>> List() override { return store_.List(); }
  absl::StatusOr<int> RemoveUnfinished() override { return store_.RemoveUnfinished(); }

 private:
  class Writer final : public artifacts::ArtifactWriter {
   public:
    Writer(std::unique_ptr<artifacts::ArtifactWriter> writer, int64_t room)
        : writer_(std::move(writer)), room_(room) {}
    absl::Status Append(std::string_view bytes) override {
      room_ -= static_cast<int64_t>(bytes.size());
      if (room_ < 0) return absl::ResourceExhaustedError("no space left");
      return writer_->Append(bytes);
    }
    absl::Status Commit() override { return writer_->Commit(); }

   private:
    const std::unique_ptr<artifacts::ArtifactWriter> writer_;
    int64_t room_;
  };

  MemoryStore store_;
  const int64_t room_;
};

class RegistryInProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(database_, OpenSqliteStore(dir_.path() / "state.db",
                                                    [](const std::string& why) { FAIL() << why; }));
    ASSERT_OK_AND_ASSIGN(executor_, RunExecutor::Create({}, *database_, store_, clock_));
    registry_ = std::make_unique<RegistryServiceImpl>(*executor_, store_, pool_, uploads_);
    rpc::ServerOptions options;
    options.in_process_only = true;
    ASSERT_OK_AND_ASSIGN(server_, rpc::RpcServer::Start(options, {registry_.get()}));
    channels_->Add("registry", server_->server());
    stub_ = v1::RegistryService::NewStub(channels_->Connect("inproc:registry"));
  }
  void TearDown() override {
    stub_.reset();
    channels_->Remove("registry");
    server_.reset();
  }
  absl::Status Upload(const std::string& bytes) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::PutArtifactResponse response;
    auto writer = stub_->PutArtifact(&context, &response);
    v1::PutArtifactRequest request;
    request.mutable_header()->set_digest(Sha256Hex(bytes));
    request.mutable_header()->set_size(static_cast<int64_t>(bytes.size()));
    bool open = writer->Write(request);
    for (size_t at = 0; open && at < bytes.size(); at += kChunk) {
      request.set_chunk(bytes.substr(at, kChunk));
      open = writer->Write(request);
    }
    writer->WritesDone();
    return rpc::FromGrpcStatus(writer->Finish());
  }
  absl::Status Stat() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::StatArtifactRequest request;
    request.set_digest(Sha256Hex("any"));
    v1::StatArtifactResponse response;
    return rpc::FromGrpcStatus(stub_->StatArtifact(&context, request, &response));
  }
  absl::Status List() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::ListEnsemblesResponse response;
    return rpc::FromGrpcStatus(stub_->ListEnsembles(&context, {}, &response));
  }

  static constexpr size_t kChunk = 512 << 10;
  static constexpr int64_t kRoom = 4 << 20;
  TempDir dir_;
  testing::FakeClock clock_;
  FillingStore store_{kRoom};
  std::unique_ptr<Store> database_;
  std::unique_ptr<RunExecutor> executor_;
  WorkerPool pool_{1, 1};
  WorkerPool uploads_{1, 1};
  std::unique_ptr<RegistryServiceImpl> registry_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::shared_ptr<rpc::InProcessChannels> channels_ = rpc::MakeInProcessChannels();
  std::unique_ptr<v1::RegistryService::Stub> stub_;
};

TEST_F(RegistryInProcessTest, AnUploadThatFillsTheDiskIsRefusedWhileItsClientWrites) {
  const auto full = StatusIs(absl::StatusCode::kResourceExhausted);
  for (int i = 0; i < 20; ++i) {
    ASSERT_THAT(Upload(std::string(size_t{32} << 20, 'x')), full) << i;
    // The last chunk is the one that does not fit.
    ASSERT_THAT(Upload(std::string(kRoom + 1, 'x')), full) << i;
  }
  EXPECT_THAT(Upload(std::string(kRoom, 'x')), IsOk());
}

TEST_F(RegistryInProcessTest, UploadsAndEverythingElseDoNotWaitForEachOther) {
  {
    FullPool full(uploads_);
    EXPECT_THAT(List(), IsOk());
    EXPECT_THAT(Stat(), StatusIs(absl::StatusCode::kUnavailable));
    full.Release();
  }
  FullPool full(pool_);
  EXPECT_THAT(Stat(), IsOk());
  EXPECT_THAT(Upload("bytes"), IsOk());
  EXPECT_THAT(List(), StatusIs(absl::StatusCode::kUnavailable));
  full.Release();
}

}  // namespace
}  // namespace atelier::coordinator
