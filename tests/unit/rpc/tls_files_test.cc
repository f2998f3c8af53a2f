#include "common/rpc/tls_files.h"

#include "common/rpc/server_flags.h"
#include "tests/unit/rpc/tls_folder.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::PemPair;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TestAuthority;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

class TlsFilesTest : public ::testing::Test {
 protected:
  TestAuthority authority_{"authority"};
  PemPair pair_ = authority_.Issue();
  TlsFolder folder_{pair_, authority_.certificate()};
};

TEST_F(TlsFilesTest, AreTakenTogetherWithWhatStandsBetweenCertificateAndAuthority) {
  EXPECT_THAT(ReadTlsFiles(folder_.files()), IsOk());
  folder_.Put("cert.pem", pair_.certificate + authority_.certificate());
  ASSERT_OK_AND_ASSIGN(const TlsPem pem, ReadTlsFiles(folder_.files()));
  EXPECT_THAT(pem.identity, AllOf(HasSubstr(pair_.certificate), HasSubstr(pair_.key)));
  EXPECT_EQ(pem.authority, authority_.certificate());
}

TEST_F(TlsFilesTest, AMissingOneIsNamed) {
  TlsFiles files = folder_.files();
  files.key.clear();
  EXPECT_THAT(ReadTlsFiles(files),
              StatusIs(kInvalid, HasSubstr("needs --tls-key (ATELIER_TLS_KEY)")));
  files.authority.clear();
  EXPECT_THAT(ReadTlsFiles(files),
              StatusIs(kInvalid, AllOf(HasSubstr("--tls-key"), HasSubstr("--tls-ca"))));
  EXPECT_THAT(ReadTlsFiles({"", files.certificate, files.certificate}),
              StatusIs(kInvalid, HasSubstr("needs --tls-cert (ATELIER_TLS_CERT)")));
}

TEST_F(TlsFilesTest, OneThatIsNotThereIsNamed) {
  for (const auto& [member, flag] :
       {std::pair{&TlsFiles::certificate, "--tls-cert"}, std::pair{&TlsFiles::key, "--tls-key"},
        std::pair{&TlsFiles::authority, "--tls-ca"}}) {
    TlsFiles files = folder_.files();
    files.*member = "/nowhere/x.pem";
    EXPECT_THAT(ReadTlsFiles(files),
                StatusIs(kPrecondition, AllOf(HasSubstr(flag), HasSubstr("/nowhere/x.pem"),
                                              HasSubstr("No such file"))));
  }
}

TEST_F(TlsFilesTest, OneThatIsNoPemIsNamed) {
  for (const auto& [name, flag] :
       {std::pair{"cert.pem", "--tls-cert"}, std::pair{"key.pem", "--tls-key"},
        std::pair{"ca.pem", "--tls-ca"}}) {
    for (const char* text : {"", "no PEM"}) {
      TlsFolder folder(pair_, authority_.certificate());
      folder.Put(name, text);
      EXPECT_THAT(ReadTlsFiles(folder.files()),
                  StatusIs(kInvalid, AllOf(HasSubstr(flag), HasSubstr("-----BEGIN "))));
    }
  }
}

TEST_F(TlsFilesTest, CertificateAndKeyInEachOthersPlaceAreNoticed) {
  folder_.Put({pair_.key, pair_.certificate}, authority_.certificate());
  EXPECT_THAT(ReadTlsFiles(folder_.files()),
              StatusIs(kInvalid, AllOf(HasSubstr("--tls-cert"), HasSubstr("holds no certificate"),
                                       Not(HasSubstr(pair_.key.substr(40, 20))))));
}

TEST_F(TlsFilesTest, ACutFileIsDamagedWhereverItIsCut) {
  const std::string two = authority_.certificate() + TestAuthority("second").certificate();
  for (const size_t size : {two.size() - 30, two.size() * 3 / 4, two.size() / 2 + 40}) {
    folder_.Put("ca.pem", two.substr(0, size));
    EXPECT_THAT(ReadTlsFiles(folder_.files()),
                StatusIs(kInvalid, AllOf(HasSubstr("--tls-ca"), HasSubstr("certificate 2 is cut"))))
        << size;
  }
  folder_.Put("ca.pem", two.substr(0, two.size() / 4));
  EXPECT_THAT(ReadTlsFiles(folder_.files()), StatusIs(kInvalid, HasSubstr("certificate 1 is cut")));
  folder_.Put("ca.pem", two);
  folder_.Put("key.pem", pair_.key.substr(0, pair_.key.size() / 2));
  EXPECT_THAT(ReadTlsFiles(folder_.files()),
              StatusIs(kInvalid, AllOf(HasSubstr("--tls-key"), HasSubstr("holds no private key"),
                                       Not(HasSubstr(pair_.key.substr(40, 20))))));
}

TEST_F(TlsFilesTest, AnotherCertificatesKeyIsNoticed) {
  const PemPair other = authority_.Issue();
  folder_.Put("key.pem", other.key);
  EXPECT_THAT(
      ReadTlsFiles(folder_.files()),
      StatusIs(kInvalid, AllOf(HasSubstr("--tls-key"), HasSubstr("is not the key of --tls-cert"),
                               Not(HasSubstr(other.key.substr(40, 20))))));
}

TEST_F(TlsFilesTest, AKeyWithAPassphraseIsNotAskedFor) {
  folder_.Put("key.pem", TestAuthority::KeyWithPassphrase("secret"));
  EXPECT_THAT(ReadTlsFiles(folder_.files()),
              StatusIs(kInvalid, AllOf(HasSubstr("passphrase"), HasSubstr("openssl pkey"))));
}

TEST_F(TlsFilesTest, ACertificateThatPeersWouldRefuseIsRefusedWithTheReason) {
  folder_.Put("ca.pem", TestAuthority("another").certificate());
  EXPECT_THAT(
      ReadTlsFiles(folder_.files()),
      StatusIs(kPrecondition, AllOf(HasSubstr("--tls-ca"), HasSubstr("issuer certificate"))));
  folder_.Put(authority_.Issue({.days = -1}), authority_.certificate());
  EXPECT_THAT(ReadTlsFiles(folder_.files()), StatusIs(kPrecondition, HasSubstr("has expired")));
  folder_.Put(authority_.Issue({.usage = "serverAuth"}), authority_.certificate());
  EXPECT_THAT(ReadTlsFiles(folder_.files()), StatusIs(kPrecondition, HasSubstr("of a client")));
  folder_.Put(authority_.Issue({.usage = "clientAuth"}), authority_.certificate());
  EXPECT_THAT(ReadTlsFiles(folder_.files()), StatusIs(kPrecondition, HasSubstr("of a server")));
  folder_.Put(authority_.Issue({.usage = "serverAuth,clientAuth"}), authority_.certificate());
  EXPECT_THAT(ReadTlsFiles(folder_.files()), IsOk());
}

// As a service's main.cc does it.
std::shared_ptr<const TlsIdentity> IdentityFromFlags(std::vector<std::string> reversed) {
  CLI::App app;
  ServerOptions options;
  AddServerFlags(app, options);
  app.parse(reversed);
  return options.tls;
}

TEST_F(TlsFilesTest, ComeFromFlagsAndFromTheEnvironment) {
  const TlsFiles files = folder_.files();
  EXPECT_EQ(IdentityFromFlags({}), nullptr);
  EXPECT_NE(IdentityFromFlags({files.authority, "--tls-ca", files.key, "--tls-key",
                               files.certificate, "--tls-cert"}),
            nullptr);
  ::setenv("ATELIER_TLS_CERT", files.certificate.c_str(), 1);
  ::setenv("ATELIER_TLS_KEY", files.key.c_str(), 1);
  EXPECT_NE(IdentityFromFlags({files.authority, "--tls-ca"}), nullptr);
  try {
    IdentityFromFlags({});
    ADD_FAILURE() << "taken without an authority";
  } catch (const CLI::ValidationError& error) {
    EXPECT_THAT(error.what(), HasSubstr("needs --tls-ca (ATELIER_TLS_CA)"));
  }
  ::unsetenv("ATELIER_TLS_CERT");
  ::unsetenv("ATELIER_TLS_KEY");
}

}  // namespace
}  // namespace atelier::rpc
