#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>

#include "common/base/files.h"
#include "common/base/sha256.h"
#include "services/aggregator/version_source.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;

class RunDirectorySourceTest : public ::testing::Test {
 protected:
  RunDirectorySourceTest() : version(MakeVersion({"a", "b"})) {
    version.mutable_members(0)->set_weights_digest(Sha256Hex("weights of a"));
    version.mutable_members(1)->set_weights_digest(Sha256Hex("weights of b"));
  }
  void WriteJson() {
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(version, &json).ok());
    ASSERT_THAT(WriteFileAtomically(dir.path() / "ensemble.json", json), IsOk());
  }
  void Write(const std::string& file, const std::string& bytes) {
    const auto path = dir.path() / file;
    ASSERT_THAT(MakeDirectories(path.parent_path()), IsOk());
    ASSERT_THAT(WriteFileAtomically(path, bytes), IsOk());
  }
  atelier::testing::TempDir dir;
  v1::EnsembleVersion version;
};

TEST_F(RunDirectorySourceTest, OffersItsEnsembleAndFindsWeightsWhereverARunKeepsThem) {
  WriteJson();
  const std::string b = Sha256Hex("weights of b");
  Write("weights/a.safetensors", "weights of a");
  Write("artifacts/" + b.substr(0, 2) + "/" + b, "weights of b");
  ASSERT_OK_AND_ASSIGN(const auto source, OpenRunDirectory(dir.path(), 5));
  v1::EnsembleVersion offered;
  ASSERT_THAT(source->Start([&](const v1::EnsembleVersion& v) { offered = v; }), IsOk());
  EXPECT_EQ(offered.version(), 5);
  EXPECT_EQ(offered.members_size(), 2);
  EXPECT_THAT(source->Weights(Sha256Hex("weights of a")), IsOkAndHolds("weights of a"));
  EXPECT_THAT(source->Weights(b), IsOkAndHolds("weights of b"));
  EXPECT_THAT(source->Weights(Sha256Hex("other")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(source->Weights("../../etc/passwd"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(RunDirectorySourceTest, ReportsDamage) {
  EXPECT_THAT(OpenRunDirectory(dir.path()), StatusIs(absl::StatusCode::kNotFound));
  Write("ensemble.json", "{\"name\": \"cut");
  EXPECT_THAT(OpenRunDirectory(dir.path()), StatusIs(absl::StatusCode::kDataLoss));
  WriteJson();
  Write("weights/a.safetensors", "weights of A");
  ASSERT_OK_AND_ASSIGN(const auto source, OpenRunDirectory(dir.path()));
  EXPECT_THAT(source->Weights(Sha256Hex("weights of a")), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace atelier::aggregator
