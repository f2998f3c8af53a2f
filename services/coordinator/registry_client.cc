#include <algorithm>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "atelier/v1/registry.grpc.pb.h"
#include "common/artifacts/artifact_store.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "services/coordinator/client.h"
#include "services/coordinator/client_calls.h"

namespace atelier::coordinator {
namespace {

constexpr size_t kChunkBytes = 512 << 10;
constexpr std::chrono::minutes kTransferTimeout{10};
constexpr std::chrono::milliseconds kReconnectPause{500};

// Calls Watch until it is destroyed.
class PromotedWatchImpl final : public RegistryClient::PromotedWatch {
 public:
  PromotedWatchImpl(std::shared_ptr<v1::RegistryService::Stub> stub, std::string name,
                    std::function<void(const v1::PromotedEnsemble&)> on_promoted)
      : stub_(std::move(stub)), name_(std::move(name)), on_promoted_(std::move(on_promoted)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~PromotedWatchImpl() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      if (context_ != nullptr) context_->TryCancel();
      stop_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      grpc::ClientContext context;
      {
        MutexLock lock(mutex_);
        if (stopping_) return;
        context_ = &context;
      }
      v1::WatchPromotedRequest request;
      request.set_name(name_);
      auto reader = stub_->WatchPromoted(&context, request);
      v1::PromotedEnsemble promoted;
      while (reader->Read(&promoted)) on_promoted_(promoted);
      reader->Finish();  // whatever ended it, the answer is to call again
      MutexLock lock(mutex_);
      context_ = nullptr;
      if (stop_.WaitFor(mutex_, kReconnectPause,
                        [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; })) {
        return;
      }
    }
  }

  const std::shared_ptr<v1::RegistryService::Stub> stub_;
  const std::string name_;
  const std::function<void(const v1::PromotedEnsemble&)> on_promoted_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

class RegistryClientImpl final : public RegistryClient {
 public:
  RegistryClientImpl(std::shared_ptr<grpc::Channel> channel,
                     std::shared_ptr<rpc::Cancellation> cancellation)
      : stub_(v1::RegistryService::NewStub(std::move(channel))),
        cancellation_(std::move(cancellation)) {}

  absl::StatusOr<std::string> PutBytes(std::string_view bytes) override {
    // The registry's answer would be that of a full disk, which callers wait for.
    if (bytes.size() > static_cast<size_t>(artifacts::kMaxArtifactBytes)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "an artifact has at most ", artifacts::kMaxArtifactBytes, " bytes, not ", bytes.size()));
    }
    const std::string digest = Sha256Hex(bytes);
    ATELIER_ASSIGN_OR_RETURN(const bool there, Exists(digest));
    if (there) return digest;
    ATELIER_RETURN_IF_ERROR(
        Retry([&](grpc::ClientContext* context) { return Upload(context, digest, bytes); },
              kTransferTimeout));
    return digest;
  }

  absl::StatusOr<std::string> PutFile(const std::filesystem::path& path) override {
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
    return PutBytes(bytes);
  }

  absl::StatusOr<std::string> GetBytes(const std::string& digest) override {
    std::string bytes;
    ATELIER_RETURN_IF_ERROR(
        Retry([&](grpc::ClientContext* context) { return Download(context, digest, bytes); },
              kTransferTimeout));
    if (Sha256Hex(bytes) != digest) {
      return absl::DataLossError("what arrived is not artifact " + digest);
    }
    return bytes;
  }

  absl::Status GetFile(const std::string& digest, const std::filesystem::path& path) override {
    ATELIER_ASSIGN_OR_RETURN(const std::string bytes, GetBytes(digest));
    return WriteFileAtomically(path, bytes);
  }

  absl::StatusOr<bool> Exists(const std::string& digest) override {
    v1::StatArtifactRequest request;
    request.set_digest(digest);
    v1::StatArtifactResponse response;
    ATELIER_RETURN_IF_ERROR(Retry([&](grpc::ClientContext* context) {
      return stub_->StatArtifact(context, request, &response);
    }));
    return response.exists();
  }

  absl::StatusOr<v1::EnsembleVersion> Publish(const v1::EnsembleVersion& ensemble,
                                              bool promote) override {
    v1::PublishEnsembleRequest request;
    request.set_request_id(NewRequestId());
    *request.mutable_ensemble() = ensemble;
    request.set_promote(promote);
    v1::EnsembleVersion response;
    ATELIER_RETURN_IF_ERROR(Retry([&](grpc::ClientContext* context) {
      return stub_->PublishEnsemble(context, request, &response);
    }));
    return response;
  }

  absl::StatusOr<v1::PromotedEnsemble> Promote(const std::string& name, int version) override {
    v1::PromoteEnsembleRequest request;
    request.set_request_id(NewRequestId());
    request.set_name(name);
    request.set_version(version);
    v1::PromotedEnsemble response;
    ATELIER_RETURN_IF_ERROR(Retry([&](grpc::ClientContext* context) {
      return stub_->PromoteEnsemble(context, request, &response);
    }));
    return response;
  }

  absl::StatusOr<v1::EnsembleVersion> GetEnsemble(const std::string& name, int version) override {
    v1::GetEnsembleRequest request;
    request.set_name(name);
    request.set_version(version);
    v1::EnsembleVersion response;
    ATELIER_RETURN_IF_ERROR(Retry([&](grpc::ClientContext* context) {
      return stub_->GetEnsemble(context, request, &response);
    }));
    return response;
  }

  absl::StatusOr<v1::ListEnsemblesResponse> ListEnsembles(const std::string& name) override {
    v1::ListEnsemblesRequest request;
    request.set_name(name);
    v1::ListEnsemblesResponse response;
    ATELIER_RETURN_IF_ERROR(Retry([&](grpc::ClientContext* context) {
      return stub_->ListEnsembles(context, request, &response);
    }));
    return response;
  }

  std::unique_ptr<PromotedWatch> WatchPromoted(
      const std::string& name,
      std::function<void(const v1::PromotedEnsemble&)> on_promoted) override {
    return std::make_unique<PromotedWatchImpl>(stub_, name, std::move(on_promoted));
  }

 private:
  template <typename Call>
  absl::Status Retry(const Call& call, std::chrono::milliseconds timeout = kCallTimeout) {
    return CallWithRetry(call, timeout, cancellation_.get());
  }

  grpc::Status Upload(grpc::ClientContext* context, const std::string& digest,
                      std::string_view bytes) {
    v1::PutArtifactResponse response;
    auto writer = stub_->PutArtifact(context, &response);
    v1::PutArtifactRequest request;
    request.mutable_header()->set_digest(digest);
    request.mutable_header()->set_size(static_cast<int64_t>(bytes.size()));
    bool open = writer->Write(request);
    for (size_t at = 0; open && at < bytes.size(); at += kChunkBytes) {
      const std::string_view chunk = bytes.substr(at, kChunkBytes);
      request.set_chunk(chunk.data(), chunk.size());
      open = writer->Write(request);  // false: refused; Finish says why
    }
    writer->WritesDone();
    return writer->Finish();
  }

  // Goes on at the bytes that an earlier try left in `bytes`.
  grpc::Status Download(grpc::ClientContext* context, const std::string& digest,
                        std::string& bytes) {
    v1::GetArtifactRequest request;
    request.set_digest(digest);
    request.set_offset(static_cast<int64_t>(bytes.size()));
    auto reader = stub_->GetArtifact(context, request);
    v1::GetArtifactResponse response;
    while (reader->Read(&response)) {
      if (response.has_header()) {
        bytes.reserve(static_cast<size_t>(
            std::clamp<int64_t>(response.header().size(), 0, int64_t{4} << 30)));
      } else {
        bytes += response.chunk();
      }
    }
    return reader->Finish();
  }

  const std::shared_ptr<v1::RegistryService::Stub> stub_;
  const std::shared_ptr<rpc::Cancellation> cancellation_;
};

}  // namespace

std::unique_ptr<RegistryClient> RegistryClient::Create(
    std::shared_ptr<grpc::Channel> channel, std::shared_ptr<rpc::Cancellation> cancellation) {
  return std::make_unique<RegistryClientImpl>(std::move(channel), std::move(cancellation));
}

}  // namespace atelier::coordinator
