// An authority that lives as long as a test and signs certificates for it (OpenSSL, P-256).
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace atelier::testing {

struct PemPair {
  std::string certificate;
  std::string key;
};

struct CertificateWish {
  std::string subject = "atelier";
  std::string names = "IP:127.0.0.1,DNS:localhost";  // subjectAltName
  std::string usage = "";                            // extendedKeyUsage; empty: any
  int days = 30;                                     // below 0: over since then
};

// Not thread-safe.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
    certificate_ = Blank({.subject = name});
    X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
    X509_set_pubkey(certificate_.get(), key_.get());
    Extend(*certificate_, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(certificate_.get(), key_.get(), EVP_sha256());
  }

  std::string certificate() const { return Pem(*certificate_); }

  PemPair Issue(const CertificateWish& wish = {}) {
    const Key key(EVP_EC_gen("P-256"));
    const Certificate certificate = Blank(wish);
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
    X509_set_pubkey(certificate.get(), key.get());
    Extend(*certificate, NID_subject_alt_name, wish.names);
    if (!wish.usage.empty()) Extend(*certificate, NID_ext_key_usage, wish.usage);
    X509_sign(certificate.get(), key_.get(), EVP_sha256());
    return {Pem(*certificate), KeyPem(*key, nullptr)};
  }

  // A private key that nothing belongs to, in a file that asks for `passphrase`.
  static std::string KeyWithPassphrase(const char* passphrase) {
    return KeyPem(*Key(EVP_EC_gen("P-256")), passphrase);
  }

 private:
  template <auto Free>
  struct Freer {
    template <typename T>
    void operator()(T* pointer) const {
      Free(pointer);
    }
  };
  using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
  using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
  using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;

  Certificate Blank(const CertificateWish& wish) {
    constexpr int kDay = 86'400;
    Certificate certificate(X509_new());
    X509_set_version(certificate.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -100 * kDay);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), wish.days * kDay);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(wish.subject.c_str()), -1, -1,
                               0);
    return certificate;
  }

  static void Extend(X509& certificate, int kind, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    X509_add_ext(&certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  static std::string Text(const Bio& bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<size_t>(size));
  }

  static std::string Pem(X509& certificate) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), &certificate);
    return Text(bio);
  }

  static std::string KeyPem(EVP_PKEY& key, const char* passphrase) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), &key,
                                  passphrase == nullptr ? nullptr : EVP_aes_256_cbc(), nullptr, 0,
                                  nullptr, const_cast<char*>(passphrase));
    return Text(bio);
  }

  Key key_;
  Certificate certificate_;
  long serial_ = 0;
};

}  // namespace atelier::testing
