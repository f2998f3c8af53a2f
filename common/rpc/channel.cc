#include "common/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/support/client_interceptor.h>

#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "common/concurrency/mutex.h"
#include "common/rpc/lock_order.h"

namespace atelier::rpc {
namespace {

constexpr std::string_view kInProcessPrefix = "inproc:";
constexpr std::string_view kHttpsPrefix = "https://";
constexpr int kKeepaliveTimeMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// What an attempt to connect gets, at least: gRPC's argument for that is called minimal backoff.
// Shorter than a handshake on a busy machine or a long line, and calls fail though the peer is
// well.
constexpr int kConnectTimeoutMs = 5'000;

using InterceptorFactories =
    std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>;

class CountingInterceptor final : public grpc::experimental::Interceptor {
 public:
  CountingInterceptor(std::shared_ptr<CallCounter> counter, std::string method)
      : counter_(std::move(counter)), method_(std::move(method)) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      counter_->Count(method_);
    }
    methods->Proceed();
  }

 private:
  std::shared_ptr<CallCounter> counter_;
  std::string method_;
};

class CountingInterceptorFactory final
    : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit CountingInterceptorFactory(std::shared_ptr<CallCounter> counter)
      : counter_(std::move(counter)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* info) override {
    return new CountingInterceptor(counter_, info->method());  // owned by gRPC
  }

 private:
  std::shared_ptr<CallCounter> counter_;
};

InterceptorFactories Interceptors(const ChannelOptions& options) {
  InterceptorFactories factories;
  if (options.call_counter != nullptr) {
    factories.push_back(std::make_unique<CountingInterceptorFactory>(options.call_counter));
  }
  return factories;
}

// Keeps gRPC's callback threads for the life of the process. gRPC 1.51 ends them with the last
// channel that used the callback API, by joining them; when that channel's last owner is a reactor
// in its OnDone, a thread joins itself, the queue is freed under it, and the process aborts.
void PinCallbackThreads() {
  static const bool pinned = [] {
    struct Call {
      std::shared_ptr<grpc::Channel> channel = grpc::CreateChannel(
          "unix:/nonexistent/atelier-callback-threads", grpc::InsecureChannelCredentials());
      grpc::GenericStub stub{channel};
      grpc::ClientContext context;
      grpc::Slice nothing{""};
      grpc::ByteBuffer request{&nothing, 1};
      grpc::ByteBuffer response;
    };
    static auto* const call = new Call;  // never deleted: that is the pin
    call->context.set_deadline(std::chrono::system_clock::now());
    call->stub.UnaryCall(&call->context, "/atelier/none", grpc::StubOptions(), &call->request,
                         &call->response, [](const grpc::Status&) {});
    return true;
  }();
  (void)pinned;
}

grpc::ChannelArguments Arguments(const ChannelOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_receive_bytes);
  arguments.SetMaxSendMessageSize(options.max_receive_bytes);
  return arguments;
}

// Null, of which gRPC makes a channel that leads nowhere, when there should be an identity.
std::shared_ptr<grpc::ChannelCredentials> Credentials(const ChannelOptions& options, bool https) {
  if (!options.tls.ok()) return nullptr;
  if (*options.tls != nullptr) return (*options.tls)->ForChannel(options.peer_name);
  return https ? grpc::SslCredentials({}) : grpc::InsecureChannelCredentials();
}

class TcpChannels final : public ChannelFactory {
 public:
  explicit TcpChannels(const ChannelOptions& options) : options_(options) {
    TurnOffLockOrderChecks();
    PinCallbackThreads();
  }

  std::shared_ptr<grpc::Channel> Connect(const std::string& address) override {
    MutexLock lock(mutex_);
    std::shared_ptr<grpc::Channel>& channel = channels_[address];
    if (channel == nullptr) {
      grpc::ChannelArguments arguments = Arguments(options_);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
      // Reconnect soon after a peer was restarted instead of backing off to two minutes.
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
      // Channels to one address must not share a connection with another factory's: a test's
      // counters and a killed peer's state stay where they belong.
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const bool https = address.starts_with(kHttpsPrefix);
      channel = grpc::experimental::CreateCustomChannelWithInterceptors(
          https ? address.substr(kHttpsPrefix.size()) : address, Credentials(options_, https),
          arguments, Interceptors(options_));
    }
    return channel;
  }

 private:
  const ChannelOptions options_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_ ABSL_GUARDED_BY(mutex_);
};

class InProcessChannelsImpl final : public InProcessChannels {
 public:
  explicit InProcessChannelsImpl(const ChannelOptions& options)
      : options_(options), tcp_(options) {}

  void Add(std::string_view name, grpc::Server& server) override {
    const grpc::ChannelArguments arguments = Arguments(options_);
    auto channel =
        server.experimental().InProcessChannelWithInterceptors(arguments, Interceptors(options_));
    MutexLock lock(mutex_);
    channels_[std::string(kInProcessPrefix) + std::string(name)] = std::move(channel);
  }

  void Remove(std::string_view name) override {
    MutexLock lock(mutex_);
    channels_.erase(std::string(kInProcessPrefix) + std::string(name));
  }

  std::shared_ptr<grpc::Channel> Connect(const std::string& address) override {
    if (address.rfind(kInProcessPrefix, 0) != 0) return tcp_.Connect(address);
    MutexLock lock(mutex_);
    const auto found = channels_.find(address);
    if (found != channels_.end()) return found->second;
    // Nobody of that name (any more): a channel whose calls fail with UNAVAILABLE, as over TCP.
    return grpc::CreateChannel("unix:/nonexistent/" + address.substr(kInProcessPrefix.size()),
                               grpc::InsecureChannelCredentials());
  }

 private:
  const ChannelOptions options_;
  TcpChannels tcp_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<ChannelFactory> MakeTcpChannelFactory(const ChannelOptions& options) {
  return std::make_shared<TcpChannels>(options);
}

std::shared_ptr<InProcessChannels> MakeInProcessChannels(const ChannelOptions& options) {
  return std::make_shared<InProcessChannelsImpl>(options);
}

}  // namespace atelier::rpc
