// Artifacts and ensemble versions over the wire.
#include <SQLiteCpp/SQLiteCpp.h>

#include <fstream>

#include "common/concurrency/mutex.h"
#include "tests/integration/coordinator/server_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class RegistryServerTest : public ServerTest {
 protected:
  static std::string MakeBytes(size_t size) {
    std::string bytes(size, '\0');
    uint32_t state = 1;
    for (char& byte : bytes) {
      state = state * 1664525U + 1013904223U;
      byte = static_cast<char>(state >> 24);
    }
    return bytes;
  }
  std::filesystem::path FileOf(const std::string& digest) {
    return dir_.path() / "artifacts" / digest.substr(0, 2) / digest;
  }
  // Uploads by hand: the messages as they are, then the answer.
  absl::Status Upload(const std::vector<v1::PutArtifactRequest>& messages) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::PutArtifactResponse response;
    auto writer = registry_stub_->PutArtifact(&context, &response);
    for (const v1::PutArtifactRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return rpc::FromGrpcStatus(writer->Finish());
  }
  static v1::PutArtifactRequest Header(const std::string& digest, int64_t size) {
    v1::PutArtifactRequest request;
    request.mutable_header()->set_digest(digest);
    request.mutable_header()->set_size(size);
    return request;
  }
  static v1::PutArtifactRequest Chunk(const std::string& bytes) {
    v1::PutArtifactRequest request;
    request.set_chunk(bytes);
    return request;
  }
  v1::EnsembleVersion MakeEnsemble(const std::string& name) {
    v1::EnsembleVersion ensemble;
    ensemble.set_name(name);
    ensemble.add_classes("jay");
    v1::EnsembleMember& member = *ensemble.add_members();
    member.set_name("a");
    member.mutable_model()->set_classes(1);
    member.set_weights_digest(*registry_->PutBytes("weights"));
    return ensemble;
  }
};

TEST_F(RegistryServerTest, TwentyMebibytesGoThereAndBack) {
  const std::string bytes = MakeBytes((20 << 20) + 1);
  ASSERT_OK_AND_ASSIGN(const std::string digest, registry_->PutBytes(bytes));
  EXPECT_EQ(digest, Sha256Hex(bytes));
  EXPECT_THAT(registry_->Exists(digest), IsOkAndHolds(true));
  ASSERT_OK_AND_ASSIGN(const std::string back, registry_->GetBytes(digest));
  EXPECT_TRUE(back == bytes);  // no dump of 20 MiB when it is not
  EXPECT_THAT(registry_->PutBytes(bytes), IsOkAndHolds(digest));
  // Not as a full disk is, which would be waited for. (Refused by the size: nothing is read.)
  const std::string_view larger_than_any(bytes.data(), (size_t{4} << 30) + 1);
  EXPECT_THAT(registry_->PutBytes(larger_than_any), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(registry_->GetBytes(Sha256Hex("other")), StatusIs(absl::StatusCode::kNotFound));
}

// Else the coordinator's next start may remove it before it is referred to.
TEST_F(RegistryServerTest, UploadingOrAskingForWhatIsStoredMakesItNewAgain) {
  ASSERT_OK_AND_ASSIGN(const std::string digest, registry_->PutBytes("weights"));
  const auto now = std::filesystem::file_time_type::clock::now();
  const auto long_ago = now - std::chrono::hours(24 * 365);
  const auto age = [&] { std::filesystem::last_write_time(FileOf(digest), long_ago); };
  const auto is_new = [&] {
    return std::filesystem::last_write_time(FileOf(digest)) > now - std::chrono::hours(1);
  };
  age();
  ASSERT_FALSE(is_new());
  EXPECT_THAT(Upload({Header(digest, 7), Chunk("weights")}), IsOk());
  EXPECT_TRUE(is_new());
  age();
  EXPECT_THAT(registry_->Exists(digest), IsOkAndHolds(true));
  EXPECT_TRUE(is_new());
  age();
  EXPECT_THAT(registry_->GetBytes(digest), IsOkAndHolds("weights"));
  EXPECT_FALSE(is_new());
}

TEST_F(RegistryServerTest, ADownloadGoesOnAtAnOffset) {
  const std::string bytes = MakeBytes(3 << 20);
  v1::GetArtifactRequest request;
  request.set_digest(*registry_->PutBytes(bytes));
  request.set_offset(1'000'003);
  grpc::ClientContext context;
  auto reader = registry_stub_->GetArtifact(&context, request);
  std::string back;
  v1::GetArtifactResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.header().size(), 3 << 20);
  while (reader->Read(&response)) back += response.chunk();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(back == bytes.substr(1'000'003));
}

TEST_F(RegistryServerTest, DamagedBytesAreDataLossAndTheNextGoodRequestSucceeds) {
  const std::string bytes = MakeBytes(1 << 20);  // a whole number of chunks
  ASSERT_OK_AND_ASSIGN(const std::string flipped, registry_->PutBytes(bytes));
  ASSERT_OK_AND_ASSIGN(const std::string cut, registry_->PutBytes(bytes + "x"));
  ASSERT_OK_AND_ASSIGN(const std::string good, registry_->PutBytes("good"));
  {
    std::fstream file(FileOf(flipped), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(700'000);
    file.put(static_cast<char>(~bytes[700'000]));
  }
  std::filesystem::resize_file(FileOf(cut), 500'000);
  EXPECT_THAT(registry_->GetBytes(flipped), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(registry_->GetBytes(cut), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(registry_->GetBytes(good), IsOkAndHolds("good"));
}

TEST_F(RegistryServerTest, WrongUploadsAreRefusedAndLeaveNothing) {
  const std::string digest = Sha256Hex("bytes");
  const auto invalid = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Upload({}), invalid);
  EXPECT_THAT(Upload({Chunk("bytes")}), invalid);
  EXPECT_THAT(Upload({Header(digest, 5), Header(digest, 5)}), invalid);
  EXPECT_THAT(Upload({Header(digest, 5), Chunk("byte")}), invalid);    // too short
  EXPECT_THAT(Upload({Header(digest, 5), Chunk("bytes!")}), invalid);  // too long
  EXPECT_THAT(Upload({Header(digest, 5), Chunk("bytez")}), invalid);   // other bytes
  EXPECT_THAT(Upload({Header("../../etc/passwd", 5), Chunk("bytes")}), invalid);
  EXPECT_THAT(Upload({Header(digest, int64_t{5} << 30)}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Upload({Header(Sha256Hex(MakeBytes(2 << 20)), 2 << 20), Chunk(MakeBytes(2 << 20))}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("chunk")));
  EXPECT_THAT(registry_->Exists(digest), IsOkAndHolds(false));
  EXPECT_THAT(Upload({Header(digest, 5), Chunk("by"), Chunk("tes")}), IsOk());
  EXPECT_THAT(registry_->GetBytes(digest), IsOkAndHolds("bytes"));
}

TEST_F(RegistryServerTest, WatchingSeesThePromotedVersionAndEachPromotion) {
  Mutex mutex;
  CondVar changed;
  std::vector<std::string> seen;
  const auto see = [&](const v1::PromotedEnsemble& promoted) {
    MutexLock lock(mutex);
    seen.push_back(promoted.ensemble().name() + "@" +
                   std::to_string(promoted.ensemble().version()));
    changed.NotifyAll();
  };
  const auto wait_for = [&](size_t count) {
    MutexLock lock(mutex);
    return changed.WaitFor(mutex, kPatience, [&] { return seen.size() >= count; });
  };
  const auto watch = registry_->WatchPromoted("birds", see);  // before there is any
  ASSERT_THAT(registry_->Publish(MakeEnsemble("birds"), false), IsOk());
  ASSERT_TRUE(wait_for(1));
  ASSERT_THAT(registry_->Publish(MakeEnsemble("birds"), false), IsOk());  // not promoted
  ASSERT_THAT(registry_->Publish(MakeEnsemble("cats"), true), IsOk());    // another name
  ASSERT_THAT(registry_->Publish(MakeEnsemble("birds"), true), IsOk());
  ASSERT_TRUE(wait_for(2));
  ASSERT_THAT(registry_->Promote("birds", 2), IsOk());
  ASSERT_TRUE(wait_for(3));
  {
    MutexLock lock(mutex);
    EXPECT_THAT(seen, ::testing::ElementsAre("birds@1", "birds@3", "birds@2"));
    seen.clear();
  }
  const auto any = registry_->WatchPromoted("", see);
  ASSERT_TRUE(wait_for(1));
  MutexLock lock(mutex);
  EXPECT_EQ(seen[0], "birds@2");  // the name promoted last
}

TEST_F(RegistryServerTest, AnUnknownVersionNamesThoseThereAre) {
  ASSERT_THAT(registry_->Publish(MakeEnsemble("birds"), false), IsOk());
  EXPECT_THAT(registry_->GetEnsemble("birds", 9),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("published: birds@1")));
  EXPECT_THAT(registry_->Promote("cats", 1), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RegistryServerTest, AStartRemovesWhatCrashesLeftAndNothingThatIsNeeded) {
  ASSERT_OK_AND_ASSIGN(const v1::EnsembleVersion version,
                       registry_->Publish(MakeEnsemble("birds"), true));
  const std::string needed = version.members(0).weights_digest();
  ASSERT_OK_AND_ASSIGN(const std::string fresh, registry_->PutBytes("not committed yet"));
  ASSERT_OK_AND_ASSIGN(const std::string abandoned, registry_->PutBytes("never committed"));
  server_.reset();
  const std::filesystem::path unfinished = FileOf(fresh).string() + ".tmp.4711.0";
  std::ofstream(unfinished) << "not comm";
  constexpr std::chrono::hours kAgo{24 * 8};
  for (const std::string& old : {needed, abandoned}) {
    std::filesystem::last_write_time(FileOf(old),
                                     std::filesystem::file_time_type::clock::now() - 2 * kAgo);
  }
  SQLite::Database((dir_.path() / "coordinator.db").string(), SQLite::OPEN_READWRITE)
      .exec("UPDATE starts SET unix_ms = unix_ms - " +
            std::to_string(std::chrono::milliseconds(kAgo).count()));
  ASSERT_NO_FATAL_FAILURE(StartServer());
  EXPECT_FALSE(std::filesystem::exists(unfinished));
  EXPECT_FALSE(std::filesystem::exists(FileOf(abandoned)));
  EXPECT_THAT(registry_->GetBytes(needed), IsOkAndHolds("weights"));
  EXPECT_THAT(registry_->GetBytes(fresh), IsOkAndHolds("not committed yet"));
}

TEST_F(RegistryServerTest, ASecondCoordinatorOnTheSameStateRemovesNothing) {
  const std::filesystem::path unfinished = FileOf(*registry_->PutBytes("x")).string() + ".tmp.1.0";
  std::ofstream(unfinished) << "under way";
  CoordinatorOptions options;
  options.state_dir = dir_.path();
  options.channels = channels_;
  EXPECT_THAT(CoordinatorServer::Start(std::move(options)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another process")));
  EXPECT_TRUE(std::filesystem::exists(unfinished));
}

}  // namespace
}  // namespace atelier::coordinator
