// From an address to a gRPC channel; the one place where transports and credentials are chosen.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/rpc/call_counter.h"
#include "common/rpc/limits.h"
#include "common/rpc/tls.h"

namespace grpc {
class Channel;
class Server;
}  // namespace grpc

namespace atelier::rpc {

// Thread-safe.
class ChannelFactory {
 public:
  virtual ~ChannelFactory() = default;
  // Never blocks; a wrong address shows as UNAVAILABLE at the first call. Channels are cached by
  // address.
  virtual std::shared_ptr<grpc::Channel> Connect(const std::string& address) = 0;
};

struct ChannelOptions {
  int max_receive_bytes = kPictureReceiveBytes;
  // Set: counts every call (method name -> calls) made over these channels.
  std::shared_ptr<CallCounter> call_counter = CallCounterFromEnvironment();
  // Set: whatever is reached over TCP is reached by mutual TLS. An error: nothing is reached over
  // TCP, in plain neither.
  absl::StatusOr<std::shared_ptr<const TlsIdentity>> tls = TlsIdentityFromEnvironment();
  PeerName peer_name = PeerName::kChecked;  // of mutual TLS
};

// With an identity host:port and https://host:port are dialled by mutual TLS. Without one host:port
// is plain text and https://host:port is TLS: the server's name is checked against the system's
// certificates, or those of the file GRPC_DEFAULT_SSL_ROOTS_FILE_PATH. Keepalive 30 s / 10 s.
std::shared_ptr<ChannelFactory> MakeTcpChannelFactory(const ChannelOptions& options = {});

// Embedded mode: "inproc:NAME" reaches a server added under NAME (same process, no socket); any
// other address goes over TCP. Servers must outlive the factory's channels.
class InProcessChannels : public ChannelFactory {
 public:
  virtual void Add(std::string_view name, grpc::Server& server) = 0;
  virtual void Remove(std::string_view name) = 0;
};
std::shared_ptr<InProcessChannels> MakeInProcessChannels(const ChannelOptions& options = {});

}  // namespace atelier::rpc
