// The PEM files of a TLS identity, read and checked.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace atelier::rpc {

// Paths of PEM files: all three, or none (plain text).
struct TlsFiles {
  std::string certificate;  // --tls-cert: the own one, then those between it and the authority's
  std::string key;          // --tls-key: its private key, without a passphrase
  std::string authority;    // --tls-ca: who signs the certificates that are taken, the own too

  bool empty() const { return certificate.empty() && key.empty() && authority.empty(); }
};

// What gRPC takes: the checked files' text.
struct TlsPem {
  std::string identity;  // key and certificates, together: never one without the other
  std::string authority;

  friend bool operator==(const TlsPem&, const TlsPem&) = default;
};

// InvalidArgument: one of the three is missing, a file holds no PEM of its kind or is cut, the key
// has a passphrase or is not the certificate's. FailedPrecondition: a file cannot be read, or the
// authority did not sign the certificate for use by servers and by clients, or not for today. The
// text names the flag and what to do, and holds nothing of the key. Thread-safe.
absl::StatusOr<TlsPem> ReadTlsFiles(const TlsFiles& files);

}  // namespace atelier::rpc
