// One suite over every ArtifactStore.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <vector>

#include "common/artifacts/artifact_store.h"
#include "common/base/sha256.h"
#include "tests/testing/memory_store.h"
#include "tests/testing/no_descriptors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::artifacts {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::MemoryStore;
using ::atelier::testing::NoDescriptors;
using ::atelier::testing::StatusIs;
using ::atelier::testing::TempDir;
using ::testing::AnyOf;
using ::testing::IsEmpty;

struct StoreCase {
  const char* name;
  std::function<std::unique_ptr<ArtifactStore>(const std::filesystem::path&)> make;
};

class ArtifactStoreContract : public ::testing::TestWithParam<StoreCase> {
 protected:
  TempDir dir_;
  std::unique_ptr<ArtifactStore> store_ = GetParam().make(dir_.path());
};

TEST_P(ArtifactStoreContract, WhatWasPutIsRead) {
  const std::string bytes(300'000, 'x');
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(bytes));
  EXPECT_EQ(digest, Sha256Hex(bytes));
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds(bytes));
  EXPECT_THAT(store_->Size(digest), IsOkAndHolds(300'000));
}

TEST_P(ArtifactStoreContract, WithoutAFreeDescriptorNothingIsCalledDamaged) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put("bytes"));
  absl::Status refused;
  {
    const NoDescriptors none;
    refused = store_->ReadAll(digest).status();
  }
  EXPECT_THAT(refused, AnyOf(IsOk(), StatusIs(absl::StatusCode::kResourceExhausted)));
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds("bytes"));
}

TEST_P(ArtifactStoreContract, ListsWhatIsStoredAndSinceWhen) {
  const auto before = std::chrono::system_clock::now() - std::chrono::seconds(2);
  ASSERT_OK_AND_ASSIGN(const std::string a, store_->Put("a"));
  ASSERT_OK_AND_ASSIGN(const std::string bb, store_->Put("bb"));
  ASSERT_OK_AND_ASSIGN(const std::vector<StoredArtifact> stored, store_->List());
  ASSERT_EQ(stored.size(), 2);
  for (const StoredArtifact& artifact : stored) {
    EXPECT_THAT(artifact.digest, AnyOf(a, bb));
    EXPECT_EQ(artifact.size, artifact.digest == a ? 1 : 2);
    EXPECT_GE(artifact.stored, before);
    EXPECT_LE(artifact.stored, std::chrono::system_clock::now());
  }
  EXPECT_LT(stored[0].digest, stored[1].digest);
}

TEST_P(ArtifactStoreContract, TouchedItIsThereAndOtherwiseNotFound) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put("bytes"));
  EXPECT_THAT(store_->Touch(digest), IsOk());
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds("bytes"));
  EXPECT_THAT(store_->Touch(Sha256Hex("other")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->Size(Sha256Hex("other")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(ArtifactStoreContract, PutTwiceIsTheSameArtifact) {
  ASSERT_OK_AND_ASSIGN(const std::string first, store_->Put("bytes"));
  EXPECT_THAT(store_->Put("bytes"), IsOkAndHolds(first));
  EXPECT_THAT(store_->ReadAll(first), IsOkAndHolds("bytes"));
}

TEST_P(ArtifactStoreContract, AnEmptyArtifactIsOne) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(""));
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds(""));
}

TEST_P(ArtifactStoreContract, WithoutCommitNothingIsThere) {
  const std::string digest = Sha256Hex("bytes");
  {
    ASSERT_OK_AND_ASSIGN(auto writer, store_->Create(digest, 5));
    EXPECT_THAT(writer->Append("bytes"), IsOk());
  }
  EXPECT_THAT(store_->Size(digest), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->List(), IsOkAndHolds(IsEmpty()));
}

TEST_P(ArtifactStoreContract, OtherBytesThanAnnouncedAreRefused) {
  const std::string digest = Sha256Hex("bytes");
  ASSERT_OK_AND_ASSIGN(auto longer, store_->Create(digest, 5));
  EXPECT_THAT(longer->Append("bytes!"), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(auto shorter, store_->Create(digest, 5));
  EXPECT_THAT(shorter->Append("byte"), IsOk());
  EXPECT_THAT(shorter->Commit(), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(auto other, store_->Create(digest, 5));
  EXPECT_THAT(other->Append("BYTES"), IsOk());
  EXPECT_THAT(other->Commit(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->Size(digest), StatusIs(absl::StatusCode::kNotFound));
}

TEST_P(ArtifactStoreContract, ReadsFromAnOffset) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put("0123456789"));
  ASSERT_OK_AND_ASSIGN(auto reader, store_->Open(digest, 4));
  EXPECT_EQ(reader->size(), 10);
  EXPECT_THAT(reader->Read(3), IsOkAndHolds("456"));
  EXPECT_THAT(reader->Read(100), IsOkAndHolds("789"));
  EXPECT_THAT(reader->Read(100), IsOkAndHolds(""));
  EXPECT_THAT(store_->Open(digest, 11), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(ArtifactStoreContract, DeletedIsGoneAndAnOpenReaderGoesOn) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put("bytes"));
  ASSERT_OK_AND_ASSIGN(auto reader, store_->Open(digest, 0));
  EXPECT_THAT(store_->Delete(digest), IsOk());
  EXPECT_THAT(store_->Open(digest, 0), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(reader->Read(100), IsOkAndHolds("bytes"));
  EXPECT_THAT(store_->Delete(digest), IsOk());
}

TEST_P(ArtifactStoreContract, NamesThatAreNoDigestAreRefused) {
  for (const std::string& name :
       std::vector<std::string>{"", "../x", "abc", std::string(63, 'a') + "/"}) {
    EXPECT_THAT(store_->Open(name, 0), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_THAT(store_->Create(name, 1), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_THAT(store_->Touch(name), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_THAT(store_->Delete(name), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(store_->Create(Sha256Hex(""), kMaxArtifactBytes + 1),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

INSTANTIATE_TEST_SUITE_P(
    Stores, ArtifactStoreContract,
    ::testing::Values(
        StoreCase{"Memory", [](const auto&) { return std::make_unique<MemoryStore>(); }},
        StoreCase{"Directory",
                  [](const auto& dir) { return OpenDirectoryStore(dir / "store").value(); }}),
    [](const auto& test) { return std::string(test.param.name); });

// What only files can suffer.
class DirectoryStoreDamage : public ::testing::Test {
 protected:
  std::filesystem::path PathOf(const std::string& digest) const {
    return dir_.path() / digest.substr(0, 2) / digest;
  }
  TempDir dir_;
  std::unique_ptr<ArtifactStore> store_ = OpenDirectoryStore(dir_.path()).value();
};

TEST_F(DirectoryStoreDamage, AFlippedBitIsDataLoss) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(std::string(100'000, 'x')));
  std::fstream(PathOf(digest), std::ios::in | std::ios::out).seekp(50'000).put('y');
  EXPECT_THAT(store_->ReadAll(digest), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(DirectoryStoreDamage, ACutFileIsDataLoss) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(std::string(100'000, 'x')));
  std::filesystem::resize_file(PathOf(digest), 65'536);
  EXPECT_THAT(store_->ReadAll(digest), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(DirectoryStoreDamage, ALinkIsNotFollowed) {
  const std::string digest = Sha256Hex("x");
  std::filesystem::create_directories(PathOf(digest).parent_path());
  std::filesystem::create_symlink("/etc/passwd", PathOf(digest));
  EXPECT_THAT(store_->ReadAll(digest), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(DirectoryStoreDamage, FoundDamagedItIsSetAsideAndCanBeStoredAgain) {
  const std::string bytes(100'000, 'x');
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(bytes));
  std::fstream(PathOf(digest), std::ios::in | std::ios::out).seekp(50'000).put('y');
  for (int time = 0; time < 2; ++time) {
    EXPECT_THAT(store_->ReadAll(digest), StatusIs(absl::StatusCode::kDataLoss)) << time;
  }
  // An upload that asks first does not take the damaged file for what it has.
  EXPECT_THAT(store_->Size(digest), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(std::filesystem::exists(PathOf(digest).string() + ".damaged"));
  ASSERT_THAT(store_->Put(bytes), IsOk());
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds(bytes));
  EXPECT_THAT(store_->Size(digest), IsOkAndHolds(100'000));
  EXPECT_FALSE(std::filesystem::exists(PathOf(digest).string() + ".damaged"));
}

TEST_F(DirectoryStoreDamage, WhatAKilledUploadLeftIsRemovedAndNothingElse) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put("bytes"));
  const pid_t child = ::fork();
  if (child == 0) {
    auto writer = store_->Create(digest, 5);
    ::_exit(writer.ok() && (*writer)->Append("byt").ok() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const std::filesystem::path damaged = PathOf(Sha256Hex("other")).string() + ".damaged";
  std::filesystem::create_directories(damaged.parent_path());
  std::ofstream(damaged) << "x";
  EXPECT_THAT(store_->RemoveUnfinished(), IsOkAndHolds(1));
  EXPECT_THAT(store_->RemoveUnfinished(), IsOkAndHolds(0));
  const auto files = std::filesystem::directory_iterator(PathOf(digest).parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds("bytes"));
  EXPECT_TRUE(std::filesystem::exists(damaged));
}

// Left there, the next upload would be acknowledged in it.
TEST_F(DirectoryStoreDamage, AShardWhoseNameCouldNotBeSyncedIsNotThere) {
  const std::string digest = Sha256Hex("bytes");
  ASSERT_THAT(store_->Put("of another shard"), IsOk());
  absl::Status refused;
  {
    const NoDescriptors none;
    refused = store_->Create(digest, 5).status();
  }
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(std::filesystem::exists(PathOf(digest).parent_path()));
  EXPECT_THAT(store_->Put("bytes"), IsOkAndHolds(digest));
}

TEST_F(DirectoryStoreDamage, PuttingTheBytesAgainHeals) {
  const std::string bytes(1000, 'x');
  ASSERT_OK_AND_ASSIGN(const std::string digest, store_->Put(bytes));
  std::filesystem::resize_file(PathOf(digest), 10);
  ASSERT_THAT(store_->Put(bytes), IsOk());
  EXPECT_THAT(store_->ReadAll(digest), IsOkAndHolds(bytes));
}

}  // namespace
}  // namespace atelier::artifacts
