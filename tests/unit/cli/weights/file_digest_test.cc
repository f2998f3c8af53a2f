#include "services/cli/weights/file_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

// RFC 1321 (A.5) and FIPS 180-2 (B.1): "abc".
const FileDigests kAbc = {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                          "900150983cd24fb0d6963f7d28e17f72", 3};
const std::string kOther(64, '0');

TEST(FileDigest, ComputesBothInOnePass) {
  testing::TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir.path() / "abc", "abc"), IsOk());
  ASSERT_OK_AND_ASSIGN(const FileDigests digests, DigestsOf(dir.path() / "abc"));
  EXPECT_EQ(digests.sha256, kAbc.sha256);
  EXPECT_EQ(digests.md5, kAbc.md5);
  EXPECT_EQ(digests.bytes, 3);
  EXPECT_THAT(DigestsOf(dir.path() / "absent"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(FileDigest, EveryKnownDigestMustAgree) {
  UpstreamFile file;
  file.file = "abc";
  EXPECT_THAT(CheckDigests(file, kAbc, ""), IsOkAndHolds("nothing"));
  EXPECT_THAT(CheckDigests(file, kAbc, kAbc.sha256), IsOkAndHolds("pinned sha256"));
  file.sha256_prefix = "ba7816bf";
  EXPECT_THAT(CheckDigests(file, kAbc, ""), IsOkAndHolds("first 8 digits of sha256"));
  file.md5 = kAbc.md5;
  EXPECT_THAT(CheckDigests(file, kAbc, ""), IsOkAndHolds("md5"));
  file.sha256 = kAbc.sha256;
  EXPECT_THAT(CheckDigests(file, kAbc, ""), IsOkAndHolds("sha256"));

  EXPECT_THAT(CheckDigests(file, kAbc, kOther),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("an earlier verified download")));
  UpstreamFile wrong = file;
  wrong.sha256_prefix = "ba7816b0";
  EXPECT_THAT(CheckDigests(wrong, kAbc, ""), StatusIs(absl::StatusCode::kDataLoss));
  wrong = file;
  wrong.md5 = std::string(32, '0');
  EXPECT_THAT(CheckDigests(wrong, kAbc, ""),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(kAbc.md5)));
  wrong = file;
  wrong.sha256 = kOther;
  EXPECT_THAT(CheckDigests(wrong, kAbc, ""),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(kOther)));
}

TEST(FileDigest, PinsAreReadBackInSha256sumsFormat) {
  testing::TempDir dir;
  const auto pins = dir.path() / "pins";
  EXPECT_EQ(ReadPin(pins, "a.h5"), "");
  ASSERT_THAT(WritePin(pins, "a.h5", kOther), IsOk());
  EXPECT_EQ(ReadPin(pins, "a.h5"), kOther);
  EXPECT_THAT(ReadFile(pins / "a.h5.sha256"), IsOkAndHolds(kOther + "  a.h5\n"));
  ASSERT_THAT(WriteFileAtomically(pins / "a.h5.sha256", "nonsense"), IsOk());
  EXPECT_EQ(ReadPin(pins, "a.h5"), "");
}

}  // namespace
}  // namespace atelier::cli
