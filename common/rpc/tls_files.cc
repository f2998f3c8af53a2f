#include "common/rpc/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"

namespace atelier::rpc {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;  // hundreds of authorities

// How the user gave a file: flag and environment variable of the services, variable of the CLI.
struct Source {
  std::string_view flag;
  std::string_view variable;
};
constexpr Source kCertificate{"--tls-cert", "ATELIER_TLS_CERT"};
constexpr Source kKey{"--tls-key", "ATELIER_TLS_KEY"};
constexpr Source kAuthority{"--tls-ca", "ATELIER_TLS_CA"};

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;

std::string Named(const Source& source) {
  return absl::StrCat(std::string(source.flag), " (", std::string(source.variable), ")");
}

std::string Named(const Source& source, const std::string& path) {
  return absl::StrCat(Named(source), " ", path);
}

// Memory that OpenSSL reads; errors of earlier calls are forgotten.
Bio Open(const std::string& bytes) {
  ERR_clear_error();
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

absl::StatusOr<std::string> Read(const Source& source, const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path, kMaxPemBytes);
  if (bytes.ok()) return bytes;
  return absl::FailedPreconditionError(
      absl::StrCat(Named(source, path), ": ", std::string(bytes.status().message()),
                   "; name a PEM file that this process may read"));
}

absl::StatusOr<std::vector<Certificate>> ParseCertificates(const Source& source,
                                                           const std::string& path,
                                                           const std::string& bytes) {
  const Bio bio = Open(bytes);
  std::vector<Certificate> certificates;
  while (Certificate next{PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr)}) {
    certificates.push_back(std::move(next));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (certificates.empty() && at_end) {
    return absl::InvalidArgumentError(
        absl::StrCat(Named(source, path),
                     " holds no certificate: expected PEM text, -----BEGIN CERTIFICATE-----"));
  }
  if (!at_end) {
    return absl::InvalidArgumentError(
        absl::StrCat(Named(source, path), ": certificate ", certificates.size() + 1,
                     " is cut or damaged; write the file elsewhere and rename it to its place"));
  }
  return certificates;
}

struct Passphrase {
  bool asked = false;
};

// Instead of OpenSSL's question at the terminal.
int NoPassphrase(char*, int, int, void* passphrase) {
  static_cast<Passphrase*>(passphrase)->asked = true;
  return -1;
}

absl::StatusOr<Key> ParseKey(const std::string& path, const std::string& bytes) {
  const Bio bio = Open(bytes);
  Passphrase passphrase;
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, &passphrase));
  ERR_clear_error();
  if (key != nullptr) return key;
  if (passphrase.asked) {
    return absl::InvalidArgumentError(
        absl::StrCat(Named(kKey, path),
                     " is protected by a passphrase and nobody is there to type it: openssl pkey "
                     "-in FILE -out NEW_FILE takes it off"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Named(kKey, path), " holds no private key: expected PEM text, -----BEGIN PRIVATE KEY-----"));
}

// Whether a peer that trusts `authorities` would take the chain from a server or a client.
absl::Status CheckSigned(const TlsFiles& files, const std::vector<Certificate>& chain,
                         const std::vector<Certificate>& authorities, int purpose) {
  const Store store(X509_STORE_new());
  for (const Certificate& authority : authorities) {
    X509_STORE_add_cert(store.get(), authority.get());
  }
  STACK_OF(X509)* between = sk_X509_new_null();
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(between, chain[i].get());
  const StoreContext context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), between);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  const bool good = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  sk_X509_free(between);
  ERR_clear_error();
  if (good) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(Named(kCertificate, files.certificate), " would be refused by those who trust ",
                   Named(kAuthority, files.authority), ", as certificate of a ",
                   purpose == X509_PURPOSE_SSL_SERVER ? "server" : "client", ": ",
                   X509_verify_cert_error_string(error),
                   "; have it signed by that authority, for servers and clients, and valid today"));
}

absl::Status CheckAllGiven(const TlsFiles& files) {
  std::string missing;
  const auto check = [&missing](const Source& source, const std::string& path) {
    if (path.empty()) absl::StrAppend(&missing, missing.empty() ? "" : ", ", Named(source));
  };
  check(kCertificate, files.certificate);
  check(kKey, files.key);
  check(kAuthority, files.authority);
  if (missing.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("TLS needs ", missing, " too: certificate, key and authority, or none of them"));
}

}  // namespace

absl::StatusOr<TlsPem> ReadTlsFiles(const TlsFiles& files) {
  ATELIER_RETURN_IF_ERROR(CheckAllGiven(files));
  ATELIER_ASSIGN_OR_RETURN(const std::string certificate, Read(kCertificate, files.certificate));
  ATELIER_ASSIGN_OR_RETURN(const std::string key_text, Read(kKey, files.key));
  ATELIER_ASSIGN_OR_RETURN(std::string authority, Read(kAuthority, files.authority));
  ATELIER_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                           ParseCertificates(kCertificate, files.certificate, certificate));
  ATELIER_ASSIGN_OR_RETURN(const Key key, ParseKey(files.key, key_text));
  ATELIER_ASSIGN_OR_RETURN(const std::vector<Certificate> authorities,
                           ParseCertificates(kAuthority, files.authority, authority));
  const bool matches = X509_check_private_key(chain.front().get(), key.get()) == 1;
  ERR_clear_error();
  if (!matches) {
    return absl::InvalidArgumentError(absl::StrCat(
        Named(kKey, files.key), " is not the key of ", Named(kCertificate, files.certificate),
        ", whose first certificate must be this process's own; give the pair that "
        "was made together"));
  }
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    ATELIER_RETURN_IF_ERROR(CheckSigned(files, chain, authorities, purpose));
  }
  return TlsPem{absl::StrCat(key_text, "\n", certificate), std::move(authority)};
}

}  // namespace atelier::rpc
