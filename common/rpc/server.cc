#include "common/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/support/server_interceptor.h>
#include <unistd.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/idle_memory.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/address.h"
#include "common/rpc/health.h"
#include "common/rpc/http_server.h"
#include "common/rpc/lock_order.h"
#include "common/rpc/status.h"
#include "common/rpc/watchdog.h"

namespace atelier::rpc {
namespace {

constexpr int kHttpPortOffset = 1000;
// Not zero: the supervisor starts the service again.
constexpr int kUnansweredExitCode = 1;

absl::Status CheckListen(const ServerOptions& options) {
  if (HostOf(options.listen).size() + 1 >= options.listen.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen ", options.listen, ": expected HOST:PORT, e.g. 127.0.0.1:7070"));
  }
  if (options.insecure && options.tls != nullptr) {
    return absl::InvalidArgumentError(
        "--insecure (ATELIER_INSECURE) is plain text and --tls-cert (ATELIER_TLS_CERT) is TLS: "
        "leave one of them out");
  }
  if (!options.insecure && options.tls == nullptr && !IsLoopback(HostOf(options.listen))) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--listen ", options.listen,
        " is reachable from other machines and this listener is plain text: give --tls-cert, "
        "--tls-key and --tls-ca, or --insecure on a network you trust, or listen on 127.0.0.1"));
  }
  return absl::OkStatus();
}

// Metrics are plain text, whatever gRPC speaks.
std::string MetricsHost(const ServerOptions& options) {
  std::string_view host = HostOf(options.listen);
  const bool as_wide = options.tls == nullptr || options.insecure_metrics || IsLoopback(host);
  if (!as_wide) return "127.0.0.1";
  // Brackets set an IPv6 address off from its port: without one they are no part of it.
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

void ApplyLimits(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetResourceQuota(
      grpc::ResourceQuota("atelier").Resize(static_cast<size_t>(options.resource_quota_bytes)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  const auto set = [&](const char* argument, std::chrono::milliseconds value) {
    builder.AddChannelArgument(argument, static_cast<int>(value.count()));
  };
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, options.handshake);
  set(GRPC_ARG_MAX_CONNECTION_IDLE_MS, options.connection_idle);
  set(GRPC_ARG_MAX_CONNECTION_AGE_MS, options.connection_age);
  set(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, options.connection_age_grace);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, options.keepalive);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options.keepalive_timeout);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, options.min_ping_interval);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // The default lets a second process bind the same port and take half of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

// A request whose bytes are no message of its method: gRPC answers as if there were no such method.
// Not for streams of requests, where it takes such bytes for the stream's end.
class RefuseGarbage final : public grpc::experimental::Interceptor {
 public:
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Point::POST_RECV_MESSAGE)) {
      garbage_ = methods->GetRecvMessage() == nullptr;
    }
    if (garbage_ && methods->QueryInterceptionHookPoint(Point::PRE_SEND_STATUS)) {
      methods->ModifySendStatus({grpc::StatusCode::INVALID_ARGUMENT, kNoMessage});
    }
    methods->Proceed();
  }

 private:
  bool garbage_ = false;
};

class RefuseGarbageFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    using Type = grpc::experimental::ServerRpcInfo::Type;
    const bool one_request = info->type() == Type::UNARY || info->type() == Type::SERVER_STREAMING;
    return one_request ? new RefuseGarbage : nullptr;  // owned by gRPC
  }
};

// Where this process reaches its own listener.
std::string OwnAddress(const std::string& listen, int port) {
  std::string host(HostOf(listen));
  if (host == "0.0.0.0" || host.empty() || host == "*") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return absl::StrCat(host, ":", port);
}

[[noreturn]] void EndProcess() {
  LogError("ending: a restart answers new connections again");
  ::_exit(kUnansweredExitCode);  // destructors would wait for a server that hangs
}

class RpcServerImpl final : public RpcServer {
 public:
  ~RpcServerImpl() override { Shutdown(std::chrono::milliseconds(0)); }

  // NOLINTNEXTLINE(performance-unnecessary-value-param): a handful of pointers
  absl::Status Start(const ServerOptions& options, std::vector<grpc::Service*> services) {
    if (!options.in_process_only) ATELIER_RETURN_IF_ERROR(CheckListen(options));
    TurnOffLockOrderChecks();
    tls_ = options.tls;
    static std::once_flag plugins;
    std::call_once(plugins, [] {
      grpc::EnableDefaultHealthCheckService(true);
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    });
    grpc::ServerBuilder builder;
    ApplyLimits(options, builder);
    if (!options.in_process_only) {
      builder.AddListeningPort(
          options.listen, tls_ == nullptr ? grpc::InsecureServerCredentials() : tls_->ForServer(),
          &port_);
    }
    for (grpc::Service* service : services) builder.RegisterService(service);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
        interceptors;
    interceptors.push_back(std::make_unique<RefuseGarbageFactory>());
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || (!options.in_process_only && port_ == 0)) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot listen on ", options.listen,
                       ": the port is taken or the address is not this machine's; choose another"));
    }
    SetServing(false);
    if (options.metrics != nullptr && !options.in_process_only) {
      const int wanted = options.http_port >= 0 ? options.http_port : port_ + kHttpPortOffset;
      ATELIER_ASSIGN_OR_RETURN(http_,
                               HttpServer::Start(MetricsHost(options), wanted, options.metrics));
    }
    if (options.watchdog.count() > 0 && !options.in_process_only) StartWatchdog(options);
    return absl::OkStatus();
  }

  int port() const override { return port_; }
  int http_port() const override { return http_ == nullptr ? 0 : http_->port(); }
  grpc::Server& server() override { return *server_; }

  void SetServing(bool serving) override {
    auto* health = server_->GetHealthCheckService();
    if (health != nullptr) health->SetServingStatus(serving);
  }

  void Shutdown(std::chrono::milliseconds grace) override {
    if (server_ == nullptr) return;
    {
      MutexLock lock(mutex_);
      if (stopping_) {
        stopped_cv_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopped_; });
        return;
      }
      stopping_ = true;
    }
    watchdog_.reset();
    SetServing(false);
    server_->Shutdown(std::chrono::system_clock::now() + grace);
    MutexLock lock(mutex_);
    stopped_ = true;
    stopped_cv_.NotifyAll();
  }

  void Wait() override {
    MutexLock lock(mutex_);
    stopped_cv_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopped_; });
  }

 private:
  void StartWatchdog(const ServerOptions& options) {
    WatchdogOptions watching;
    watching.limit = options.watchdog;
    watchdog_ = std::make_unique<Watchdog>(
        watching,
        [address = OwnAddress(options.listen, port_), tls = tls_,
         memory = std::make_shared<IdleMemory>()](std::chrono::milliseconds patience) {
          memory->ReturnFreed();  // what a flood has left behind
          // The own port, whatever name the certificate is made out to.
          return AskHealth(address, patience, {.tls = tls, .peer_name = PeerName::kAny}).status();
        },
        [limit = options.watchdog, unanswered = options.unanswered](const absl::Status& last) {
          LogError("new connections were not answered for %d ms (%s)",
                   static_cast<int>(limit.count()), std::string(last.message()));
          unanswered ? unanswered() : EndProcess();
        });
  }

  std::shared_ptr<const TlsIdentity> tls_;  // looks at its files as long as it is held
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Watchdog> watchdog_;  // until Shutdown
  int port_ = 0;
  Mutex mutex_;
  CondVar stopped_cv_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const ServerOptions& options,
                                                            std::vector<grpc::Service*> services) {
  auto server = std::make_unique<RpcServerImpl>();
  ATELIER_RETURN_IF_ERROR(server->Start(options, std::move(services)));
  return server;
}

}  // namespace atelier::rpc
