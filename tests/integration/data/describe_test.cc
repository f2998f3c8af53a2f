// A description that nobody waits for any more, or that the server leaves in the middle of.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "atelier/v1/data_service.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "services/data/client.h"
#include "services/data/service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;

namespace fs = std::filesystem;

// Many seconds' work in one picture's room on the disk: every name of it is read and decoded.
constexpr int kNames = 600;

class DescribeTest : public ::testing::Test {
 protected:
  DescribeTest() {
    const fs::path picture = dir_.path() / "many" / "cat" / "0.bmp";
    Write(picture, GreyBmp(2000));
    for (int i = 1; i < kNames; ++i) {
      fs::create_hard_link(picture, picture.parent_path() / (std::to_string(i) + ".bmp"));
    }
    WriteClasses(dir_.path() / "few", 2);
    Start(DataServiceOptions().describe_limit);
  }
  void Start(std::chrono::milliseconds describe_limit) {
    DataServiceOptions options;
    options.root = dir_.path();
    options.threads = 2;
    options.describe_limit = describe_limit;
    server_ = DataServer::Start(std::move(options)).value();
    channel_ = rpc::MakeTcpChannelFactory()->Connect("127.0.0.1:" +
                                                     std::to_string(server_->server().port()));
  }

  testing::TempDir dir_;
  std::unique_ptr<DataServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(DescribeTest, TheManifestComesWholeAndInOrder) {
  constexpr size_t kFiles = 4001;  // two pages of 2,000, and one of one
  const fs::path picture = dir_.path() / "pages" / "10000.png";
  Write(picture, Png(1, 8));
  for (size_t i = 1; i < kFiles; ++i) {
    fs::create_hard_link(picture, picture.parent_path() / (std::to_string(10'000 + i) + ".png"));
  }
  v1::DescribeDatasetRequest request;
  request.set_dataset("pages");
  request.set_unlabeled_ok(true);
  request.set_want_manifest(true);
  ASSERT_OK_AND_ASSIGN(const DatasetDescription described,
                       DataClient::Create(channel_)->Describe(request, [](const auto&) {}));
  ASSERT_EQ(described.samples.size(), kFiles);
  for (size_t i = 0; i < kFiles; ++i) {
    ASSERT_EQ(described.samples[i].file(), std::to_string(10'000 + i) + ".png");
  }
}

TEST_F(DescribeTest, OneThatTakesTooLongIsCancelled) {
  Start(std::chrono::milliseconds(300));
  const auto stub = v1::DataService::NewStub(channel_);
  v1::DescribeDatasetRequest request;
  request.set_dataset("many");
  grpc::ClientContext context;
  const auto reader = stub->DescribeDataset(&context, request);
  v1::DescribeDatasetResponse part;
  while (reader->Read(&part)) EXPECT_TRUE(part.has_progress());
  EXPECT_THAT(rpc::FromGrpcStatus(reader->Finish()), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(DescribeTest, DrainingEndsItAtTheNextFile) {
  const auto stub = v1::DataService::NewStub(channel_);
  v1::DescribeDatasetRequest request;
  request.set_dataset("many");
  grpc::ClientContext context;
  const auto reader = stub->DescribeDataset(&context, request);
  v1::DescribeDatasetResponse part;
  ASSERT_TRUE(reader->Read(&part));
  EXPECT_LT(part.progress().files_done(), kNames);
  server_->Drain(std::chrono::minutes(10));  // in which it could be finished
  while (reader->Read(&part)) EXPECT_TRUE(part.has_progress());
  EXPECT_THAT(rpc::FromGrpcStatus(reader->Finish()), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DescribeTest, ThoseWhoseClientsLeftHoldNobodyUp) {
  // As many as the service has threads for, and some that wait for one.
  constexpr int kLeft = 20;
  const auto stub = v1::DataService::NewStub(channel_);
  v1::DescribeDatasetRequest request;
  request.set_dataset("many");
  {
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReader<v1::DescribeDatasetResponse>>> readers;
    for (int i = 0; i < kLeft; ++i) {
      contexts.push_back(std::make_unique<grpc::ClientContext>());
      readers.push_back(stub->DescribeDataset(contexts.back().get(), request));
    }
    v1::DescribeDatasetResponse part;
    ASSERT_TRUE(readers[0]->Read(&part));
    for (int i = 0; i < kLeft; ++i) {
      contexts[i]->TryCancel();
      EXPECT_THAT(rpc::FromGrpcStatus(readers[i]->Finish()),
                  StatusIs(absl::StatusCode::kCancelled));
    }
  }
  // Less than all the others take, more than a few pictures do.
  CallScope scope;
  scope.timeout = std::chrono::seconds(20);
  request.set_dataset("few");
  EXPECT_THAT(
      DataClient::Create(channel_)->Describe(request, [](const auto&) {}, scope).status(), IsOk());
}

}  // namespace
}  // namespace atelier::data
