// A folder with the three files of a TLS identity, which tests replace.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/base/files.h"
#include "common/rpc/tls.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/test_authority.h"

namespace atelier::rpc {

class TlsFolder {
 public:
  TlsFolder(const testing::PemPair& pair, const std::string& authority) { Put(pair, authority); }
  // A certificate that the authority issues for loopback.
  explicit TlsFolder(testing::TestAuthority& authority)
      : TlsFolder(authority.Issue(), authority.certificate()) {}

  TlsFiles files() const {
    return {Path("cert.pem").string(), Path("key.pem").string(), Path("ca.pem").string()};
  }

  void Put(const std::string& name, const std::string& text) {
    EXPECT_THAT(WriteFileAtomically(Path(name), text), testing::IsOk());
  }
  // One after another, as people do.
  void Put(const testing::PemPair& pair, const std::string& authority) {
    Put("cert.pem", pair.certificate);
    Put("key.pem", pair.key);
    Put("ca.pem", authority);
  }

  // Looks at the files all the time.
  std::shared_ptr<const TlsIdentity> Load() const {
    auto identity = TlsIdentity::Load(files(), std::chrono::milliseconds(10));
    EXPECT_THAT(identity, testing::IsOk());
    return identity.ok() ? *identity : nullptr;
  }

 private:
  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }

  testing::TempDir folder_;
};

}  // namespace atelier::rpc
