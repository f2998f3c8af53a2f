// P2 between uploads of the same bytes, whose moments the test chooses.
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <string>

#include "common/artifacts/artifact_store.h"
#include "common/base/sha256.h"
#include "tests/testing/file_hooks.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::artifacts {
namespace {

using ::atelier::testing::BeforeNext;
using ::atelier::testing::FileCall;
using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TempDir;

// What has to wait for another does not return within it; what need not, does. Too short, it makes
// a test pass.
constexpr std::chrono::milliseconds kMoment{300};

class DirectoryStoreUploads : public ::testing::Test {
 protected:
  void TearDown() override { BeforeNext(FileCall::kRename, nullptr); }

  // An upload up to its end.
  std::unique_ptr<ArtifactWriter> Begin() {
    auto writer = store_->Create(digest_, static_cast<int64_t>(bytes_.size()));
    EXPECT_THAT(writer, IsOk());
    EXPECT_THAT((*writer)->Append(bytes_), IsOk());
    return *std::move(writer);
  }
  // What an uploader asks before it sends anything.
  bool IsStored() { return store_->Size(digest_).ok() && store_->Touch(digest_).ok(); }
  void Reopen() { store_ = OpenDirectoryStore(dir_.path()).value(); }

  TempDir dir_;
  std::unique_ptr<ArtifactStore> store_ = OpenDirectoryStore(dir_.path()).value();
  const std::string bytes_ = std::string(100'000, 'x');
  const std::string digest_ = Sha256Hex(bytes_);
};

TEST_F(DirectoryStoreUploads, NobodyIsToldStoredOfANameThatIsTakenBack) {
  const auto first = Begin();
  std::future<bool> told;
  BeforeNext(FileCall::kSyncFolder, [&] {
    told = std::async(std::launch::async, [&] { return IsStored(); });
    told.wait_for(kMoment);
    return EIO;
  });
  EXPECT_THAT(first->Commit(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(told.get(), store_->Size(digest_).ok());
  EXPECT_THAT(store_->Put(bytes_), IsOkAndHolds(digest_));
  EXPECT_TRUE(IsStored());
}

TEST_F(DirectoryStoreUploads, AFailedOneTakesNothingFromOneThatEndedMeanwhile) {
  const auto first = Begin();
  BeforeNext(FileCall::kSyncFile, [&] {
    EXPECT_THAT(store_->Put(bytes_), IsOkAndHolds(digest_));
    return EIO;
  });
  EXPECT_THAT(first->Commit(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store_->ReadAll(digest_), IsOkAndHolds(bytes_));
}

TEST_F(DirectoryStoreUploads, AFailedOneTakesNothingFromOneThatEndedBefore) {
  for (const FileCall call : {FileCall::kSyncFile, FileCall::kSyncFolder, FileCall::kRename}) {
    ASSERT_THAT(store_->Put(bytes_), IsOkAndHolds(digest_));
    const auto late = Begin();
    BeforeNext(call, [] { return EIO; });
    EXPECT_THAT(late->Commit(), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(store_->ReadAll(digest_), IsOkAndHolds(bytes_));
  }
}

// The process before was killed between the rename and the folder's sync.
TEST_F(DirectoryStoreUploads, ANameThatWasThereAtTheStartIsSyncedBeforeItIsCalledStored) {
  ASSERT_THAT(store_->Put(bytes_), IsOk());
  Reopen();
  BeforeNext(FileCall::kSyncFolder, [] { return EIO; });
  EXPECT_THAT(store_->Touch(digest_), StatusIs(absl::StatusCode::kUnavailable));
  int syncs = 0;
  const auto count = [&] { return ++syncs, 0; };
  BeforeNext(FileCall::kSyncFolder, count);
  EXPECT_THAT(store_->Touch(digest_), IsOk());
  EXPECT_EQ(syncs, 1);
  BeforeNext(FileCall::kSyncFolder, count);
  EXPECT_THAT(store_->Touch(digest_), IsOk());
  EXPECT_EQ(syncs, 1) << "once is enough";
}

// It was there, replaced by equal bytes whose name may not be durable, and stays.
TEST_F(DirectoryStoreUploads, ANameWhoseSyncFailedIsSyncedBeforeItIsCalledStoredAgain) {
  ASSERT_THAT(store_->Put(bytes_), IsOk());
  const auto late = Begin();
  BeforeNext(FileCall::kSyncFolder, [] { return EIO; });
  ASSERT_THAT(late->Commit(), StatusIs(absl::StatusCode::kUnavailable));
  BeforeNext(FileCall::kSyncFolder, [] { return EIO; });
  EXPECT_THAT(store_->Touch(digest_), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store_->Touch(digest_), IsOk());
}

TEST_F(DirectoryStoreUploads, GoodBytesStoredWhileDamagedOnesAreSetAsideStay) {
  ASSERT_THAT(store_->Put(bytes_), IsOk());
  std::fstream(dir_.path() / digest_.substr(0, 2) / digest_, std::ios::in | std::ios::out)
      .seekp(50'000)
      .put('y');
  std::future<absl::Status> stored;
  BeforeNext(FileCall::kRename, [&] {
    stored = std::async(std::launch::async, [&] { return store_->Put(bytes_).status(); });
    stored.wait_for(kMoment);
    return 0;
  });
  EXPECT_THAT(store_->ReadAll(digest_), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(stored.get(), IsOk());
  EXPECT_THAT(store_->ReadAll(digest_), IsOkAndHolds(bytes_));
}

}  // namespace
}  // namespace atelier::artifacts
