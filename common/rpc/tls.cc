#include "common/rpc/tls.h"

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/lock_order.h"

namespace atelier::rpc {
namespace {

namespace tls = grpc::experimental;

constexpr unsigned kGrpcLooksEverySeconds = 1;  // gRPC's least

absl::Status NoMemory() {
  return absl::ResourceExhaustedError(absl::StrCat("memory for TLS: ", std::strerror(errno)));
}

absl::Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return NoMemory();
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Makes `to` another name of what `from` has open.
absl::Status Duplicate(int from, int to) {
  while (::dup3(from, to, O_CLOEXEC) < 0) {
    if (errno != EINTR && errno != EBUSY) return NoMemory();
  }
  return absl::OkStatus();
}

// Bytes that gRPC opens by a path but that are on no disk, and that are replaced in one step. Never
// closed: gRPC reads the path as long as any credentials made with it live.
class MemoryFile {
 public:
  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }

  absl::Status Replace(std::string_view bytes) {
    const int fd = ::memfd_create("atelier-tls", MFD_CLOEXEC);
    if (fd < 0) return NoMemory();
    absl::Status status = WriteAll(fd, bytes);
    // gRPC tells by whole seconds whether a file was replaced while it was read.
    const timespec changed{++version_, 0};
    const timespec times[] = {changed, changed};
    if (status.ok() && ::futimens(fd, times) != 0) status = NoMemory();
    if (status.ok() && fd_ < 0) {
      fd_ = fd;
      return status;
    }
    if (status.ok()) status = Duplicate(fd, fd_);
    ::close(fd);
    return status;
  }

 private:
  int fd_ = -1;
  time_t version_ = 0;
};

// gRPC 1.51 has one certificate provider for both halves; later versions warn of it and have two.
template <typename Options>
void SetProvider(Options& options, const std::shared_ptr<tls::CertificateProviderInterface>& both) {
  if constexpr (requires { options.set_root_certificate_provider(both); }) {
    options.set_root_certificate_provider(both);
    options.set_identity_certificate_provider(both);
  } else {
    options.set_certificate_provider(both);
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
  }
}

template <typename Options = tls::TlsServerCredentialsOptions>
Options ServerOptionsWith(const std::shared_ptr<tls::CertificateProviderInterface>& provider) {
  if constexpr (requires { Options::Create(provider); }) {
    return *Options::Create(provider);
  } else {
    return Options(provider);
  }
}

// Host names are checked by default, at the handshake and for each call.
template <typename Options>
void TakeAnyName(Options& options) {
  options.set_certificate_verifier(std::make_shared<tls::NoOpCertificateVerifier>());
  if constexpr (requires { options.set_check_call_host(false); }) {
    options.set_check_call_host(false);
  }
}

// A channel that leads nowhere and uses the certificates as long as it lives. gRPC (1.51 and later
// ones) tells a certificate provider of the first user's coming and the last one's going, but not
// always in that order: when a channel begins just as the last other one ends, the provider may
// take it for gone. Then it, and all that come before it ends, get no certificates, and their calls
// fail with "Failed to create security handshaker". With a user that stays there is no last one.
std::shared_ptr<grpc::Channel> StayingUser(
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  constexpr int kDayMs = 24 * 60 * 60 * 1000;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kDayMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kDayMs);
  arguments.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX);  // never
  auto channel = grpc::CreateCustomChannel("unix:/nonexistent/atelier-tls", credentials, arguments);
  // It is a user from its attempt to connect on, which fails at once.
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(5);
  grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_TRANSIENT_FAILURE && channel->WaitForStateChange(state, deadline)) {
    state = channel->GetState(/*try_to_connect=*/true);
  }
  return channel;
}

// gRPC's own watching of files takes whatever it finds and, with a broken file, is left without any
// certificate. So it watches two memory files, into which only checked text goes.
class WatchedIdentity final : public TlsIdentity {
 public:
  WatchedIdentity(TlsFiles files, std::chrono::milliseconds look_every)
      : files_(std::move(files)), look_every_(look_every) {}
  ~WatchedIdentity() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      stopping_cv_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start() {
    ATELIER_ASSIGN_OR_RETURN(TlsPem pem, ReadTlsFiles(files_));
    ATELIER_RETURN_IF_ERROR(Use(std::move(pem)));
    provider_ = std::make_shared<tls::FileWatcherCertificateProvider>(
        identity_.path(), identity_.path(), authority_.path(), kGrpcLooksEverySeconds);
    user_ = StayingUser(ForChannel(PeerName::kChecked));
    thread_ = std::thread([this] {
      while (Pause()) Look();
    });
    return absl::OkStatus();
  }

  std::shared_ptr<grpc::ServerCredentials> ForServer() const override {
    auto options = ServerOptionsWith(provider_);
    SetProvider(options, provider_);
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    return tls::TlsServerCredentials(options);
  }

  std::shared_ptr<grpc::ChannelCredentials> ForChannel(PeerName peer_name) const override {
    tls::TlsChannelCredentialsOptions options;
    SetProvider(options, provider_);
    if (peer_name == PeerName::kAny) TakeAnyName(options);
    return tls::TlsCredentials(options);
  }

 private:
  absl::Status Use(TlsPem pem) {
    ATELIER_RETURN_IF_ERROR(authority_.Replace(pem.authority));
    ATELIER_RETURN_IF_ERROR(identity_.Replace(pem.identity));
    in_use_ = std::move(pem);
    return absl::OkStatus();
  }

  // On the identity's own thread.
  void Look() {
    absl::StatusOr<TlsPem> found = ReadTlsFiles(files_);
    if (found.ok() && *found == in_use_) {
      complaint_.clear();
      return;
    }
    const absl::Status used = found.ok() ? Use(*std::move(found)) : found.status();
    if (used.ok()) {
      complaint_.clear();
      LogInfo("TLS: new connections use the files that have changed");
    } else if (used.message() != complaint_) {
      complaint_ = std::string(used.message());
      LogError("TLS: what was read before stays in use: %s", complaint_);
    }
  }

  // False when the identity is to go.
  bool Pause() {
    MutexLock lock(mutex_);
    return !stopping_cv_.WaitFor(mutex_, look_every_,
                                 [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; });
  }

  const TlsFiles files_;
  const std::chrono::milliseconds look_every_;
  // Start's, then the thread's alone.
  MemoryFile identity_;
  MemoryFile authority_;
  TlsPem in_use_;
  std::string complaint_;  // logged last
  std::shared_ptr<tls::CertificateProviderInterface> provider_;
  std::shared_ptr<grpc::Channel> user_;
  Mutex mutex_;
  CondVar stopping_cv_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

std::string FromEnvironment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsIdentity>> TlsIdentity::Load(
    const TlsFiles& files, std::chrono::milliseconds look_every) {
  TurnOffLockOrderChecks();
  auto identity = std::make_shared<WatchedIdentity>(files, look_every);
  ATELIER_RETURN_IF_ERROR(identity->Start());
  return identity;
}

absl::StatusOr<std::shared_ptr<const TlsIdentity>> TlsIdentityFromEnvironment() {
  using Loaded = absl::StatusOr<std::shared_ptr<const TlsIdentity>>;
  static auto* const identity = new Loaded([]() -> Loaded {
    const TlsFiles files{FromEnvironment("ATELIER_TLS_CERT"), FromEnvironment("ATELIER_TLS_KEY"),
                         FromEnvironment("ATELIER_TLS_CA")};
    if (files.empty()) return nullptr;
    return TlsIdentity::Load(files);
  }());
  return *identity;
}

}  // namespace atelier::rpc
