#include "services/coordinator/registry_service.h"

#include <memory>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/unary.h"
#include "services/coordinator/pull_stream.h"

namespace atelier::coordinator {
namespace {

constexpr size_t kChunkBytes = 512 << 10;
constexpr size_t kMaxChunkBytes = 1 << 20;
// Chunks read ahead of the one being written: enough to keep the disk and the wire busy.
constexpr int kChunksAhead = 2;

// Receives one artifact: each message is handled on the pool, then the next is read.
class PutReactor final : public grpc::ServerReadReactor<v1::PutArtifactRequest> {
 public:
  PutReactor(artifacts::ArtifactStore& store, WorkerPool& pool, v1::PutArtifactResponse* response)
      : store_(store), pool_(pool), response_(response) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const bool accepted = pool_.Submit([this, ok] {
      if (!ok) return Finish(rpc::ToGrpcStatus(Commit()));
      const absl::Status status = Handle();
      if (!status.ok()) return Finish(rpc::ToGrpcStatus(status));
      request_.Clear();
      StartRead(&request_);
    });
    if (!accepted) Finish({grpc::StatusCode::UNAVAILABLE, "busy or shutting down; send again"});
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Handle() {
    if (request_.has_header()) {
      if (begun_) return absl::InvalidArgumentError("a second header");
      begun_ = true;
      const v1::ArtifactHeader& header = request_.header();
      response_->set_digest(header.digest());
      const auto size = store_.Size(header.digest());
      // Touched, so that no start removes it before its uploader refers to it.
      if (size.ok() && *size == header.size() && store_.Touch(header.digest()).ok()) {
        response_->set_already_stored(true);
        return absl::OkStatus();
      }
      ATELIER_ASSIGN_OR_RETURN(writer_, store_.Create(header.digest(), header.size()));
      return absl::OkStatus();
    }
    if (!begun_) return absl::InvalidArgumentError("the first message must be the header");
    // What is stored already is read to its end and thrown away: finishing with OK under a client
    // that still writes leaves it hanging on gRPC's in-process transport; an error does not.
    if (response_->already_stored()) return absl::OkStatus();
    if (request_.chunk().size() > kMaxChunkBytes) {
      return absl::ResourceExhaustedError("a chunk has at most 1 MiB");
    }
    return writer_->Append(request_.chunk());
  }

  absl::Status Commit() {
    if (response_->already_stored()) return absl::OkStatus();
    if (writer_ == nullptr) return absl::InvalidArgumentError("nothing was sent");
    return writer_->Commit();
  }

  artifacts::ArtifactStore& store_;
  WorkerPool& pool_;
  v1::PutArtifactResponse* const response_;
  v1::PutArtifactRequest request_;
  bool begun_ = false;
  std::unique_ptr<artifacts::ArtifactWriter> writer_;
};

struct Download {
  std::unique_ptr<artifacts::ArtifactReader> reader;
};

absl::StatusOr<Pulled<v1::GetArtifactResponse>> PullChunks(artifacts::ArtifactStore& store,
                                                           const v1::GetArtifactRequest& request,
                                                           Download& download) {
  Pulled<v1::GetArtifactResponse> pulled;
  if (download.reader == nullptr) {
    ATELIER_ASSIGN_OR_RETURN(download.reader, store.Open(request.digest(), request.offset()));
    v1::ArtifactHeader& header = *pulled.messages.emplace_back().mutable_header();
    header.set_digest(request.digest());
    header.set_size(download.reader->size());
  }
  for (int i = 0; i < kChunksAhead; ++i) {
    ATELIER_ASSIGN_OR_RETURN(std::string chunk, download.reader->Read(kChunkBytes));
    if (chunk.empty()) {
      pulled.ended = true;
      break;
    }
    pulled.messages.emplace_back().set_chunk(std::move(chunk));
  }
  return pulled;
}

// What a promotion watcher was told last; used by one pull at a time.
struct PromotionSeen {
  std::string name;
  int version = 0;
  int64_t promoted_unix_ms = 0;
};

absl::StatusOr<Pulled<v1::PromotedEnsemble>> PullPromoted(RunExecutor& executor,
                                                          const std::string& name,
                                                          PromotionSeen& seen) {
  if (executor.notifier()->closed()) return absl::UnavailableError("draining; call again");
  Pulled<v1::PromotedEnsemble> pulled;
  const auto promoted = executor.GetPromoted(name);
  if (absl::IsFailedPrecondition(promoted.status())) return pulled;  // none yet: wait
  ATELIER_RETURN_IF_ERROR(promoted);
  if (promoted->ensemble().name() == seen.name && promoted->ensemble().version() == seen.version) {
    return pulled;
  }
  seen = {promoted->ensemble().name(), promoted->ensemble().version(),
          promoted->promoted_unix_ms()};
  pulled.messages.push_back(*promoted);
  return pulled;
}

}  // namespace

grpc::ServerReadReactor<v1::PutArtifactRequest>* RegistryServiceImpl::PutArtifact(
    grpc::CallbackServerContext*, v1::PutArtifactResponse* response) {
  return new PutReactor(store_, uploads_, response);
}

grpc::ServerWriteReactor<v1::GetArtifactResponse>* RegistryServiceImpl::GetArtifact(
    grpc::CallbackServerContext*, const v1::GetArtifactRequest* request) {
  auto download = std::make_shared<Download>();
  auto* stream = new PullStream<v1::GetArtifactResponse>(
      pool_, [this, asked = *request, download] { return PullChunks(store_, asked, *download); });
  stream->Wake();
  return stream;
}

grpc::ServerUnaryReactor* RegistryServiceImpl::StatArtifact(grpc::CallbackServerContext* context,
                                                            const v1::StatArtifactRequest* request,
                                                            v1::StatArtifactResponse* response) {
  return rpc::RunUnary(context, uploads_, [this, request, response]() -> absl::Status {
    const auto size = store_.Size(request->digest());
    if (absl::IsNotFound(size.status())) return absl::OkStatus();
    ATELIER_RETURN_IF_ERROR(size);
    // Whoever asks this may send nothing and refer to it.
    const absl::Status touched = store_.Touch(request->digest());
    if (absl::IsNotFound(touched)) return absl::OkStatus();
    ATELIER_RETURN_IF_ERROR(touched);
    response->set_exists(true);
    response->set_size(*size);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RegistryServiceImpl::PublishEnsemble(
    grpc::CallbackServerContext* context, const v1::PublishEnsembleRequest* request,
    v1::EnsembleVersion* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.Publish(*request));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RegistryServiceImpl::PromoteEnsemble(
    grpc::CallbackServerContext* context, const v1::PromoteEnsembleRequest* request,
    v1::PromotedEnsemble* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.Promote(*request));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RegistryServiceImpl::GetEnsemble(grpc::CallbackServerContext* context,
                                                           const v1::GetEnsembleRequest* request,
                                                           v1::EnsembleVersion* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.GetEnsemble(request->name(), request->version()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* RegistryServiceImpl::ListEnsembles(
    grpc::CallbackServerContext* context, const v1::ListEnsemblesRequest* request,
    v1::ListEnsemblesResponse* response) {
  return rpc::RunUnary(context, pool_, [this, request, response]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(*response, executor_.ListEnsembles(request->name()));
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::PromotedEnsemble>* RegistryServiceImpl::WatchPromoted(
    grpc::CallbackServerContext*, const v1::WatchPromotedRequest* request) {
  auto seen = std::make_shared<PromotionSeen>();
  auto* stream = new PullStream<v1::PromotedEnsemble>(
      pool_, [this, name = request->name(), seen] { return PullPromoted(executor_, name, *seen); });
  stream->Hold(executor_.notifier()->Subscribe(kPromotionsTopic, [stream] { stream->Wake(); }));
  stream->Wake();
  return stream;
}

}  // namespace atelier::coordinator
