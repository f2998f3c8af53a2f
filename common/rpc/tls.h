// Mutual TLS: who this process is, towards those who dial it and those whom it dials.
#pragma once

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace atelier::rpc {

// Between two looks at the files; gRPC takes what was found within a second more.
inline constexpr std::chrono::milliseconds kTlsLookEvery{5'000};

// Whether a server's certificate must be made out to the host that was dialled.
enum class PeerName { kChecked, kAny };

// A certificate and its authorities, from files that may be replaced at any time. The files are
// looked at again every `look_every`: new handshakes of listeners and channels use what was found,
// connections go on. Files that are gone, half-written or do not fit together change nothing; that
// is logged once. Credentials may outlive the identity, whose last state they keep. Thread-safe.
class TlsIdentity {
 public:
  // Errors are those of ReadTlsFiles.
  static absl::StatusOr<std::shared_ptr<const TlsIdentity>> Load(
      const TlsFiles& files, std::chrono::milliseconds look_every = kTlsLookEvery);
  virtual ~TlsIdentity() = default;

  // TLS only, and only with peers that show a certificate signed by the authority.
  virtual std::shared_ptr<grpc::ServerCredentials> ForServer() const = 0;
  // Shows the own certificate, takes servers whose certificate the authority signed.
  virtual std::shared_ptr<grpc::ChannelCredentials> ForChannel(PeerName peer_name) const = 0;
};

// The identity of ATELIER_TLS_CERT, ATELIER_TLS_KEY and ATELIER_TLS_CA, loaded at the first call
// and kept until the process ends; null when none of them is set. Thread-safe.
absl::StatusOr<std::shared_ptr<const TlsIdentity>> TlsIdentityFromEnvironment();

}  // namespace atelier::rpc
