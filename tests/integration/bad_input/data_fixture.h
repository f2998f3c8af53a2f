// A data-service on loopback over a folder of its own, with sixty good pictures.
#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/channel.h"
#include "common/rpc/limits.h"
#include "services/data/client.h"
#include "services/data/service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {

class DataServiceTest : public ::testing::Test {
 protected:
  static constexpr int kPerClass = 30;
  static constexpr int kBatch = 10;

  void SetUp() override {
    WriteClasses(root() / "good", kPerClass);
    Start({});
  }

  void Start(const vision::DecodeLimits& limits) {
    DataServiceOptions options;
    options.root = root();
    options.threads = 2;
    options.limits = limits;
    options.server.max_receive_bytes = rpc::kPictureReceiveBytes;
    server_ = DataServer::Start(std::move(options)).value();
    const std::string address = "127.0.0.1:" + std::to_string(server_->server().port());
    client_ = DataClient::Create(channels_->Connect(address));
    source_ = BatchSource::Create(channels_, {address}, /*patience_ms=*/0);
  }

  const std::filesystem::path& root() const { return dir_.path(); }

  absl::StatusOr<DatasetDescription> Describe(const std::string& dataset, double budget = 0) {
    v1::DescribeDatasetRequest request;
    request.set_dataset(dataset);
    request.set_bad_sample_budget(budget);
    request.set_want_manifest(true);
    return client_->Describe(request, [](const auto&) {});
  }

  static v1::DataPlan PlanOf(const std::string& dataset, const std::string& digest) {
    v1::DataPlan plan;
    plan.set_dataset(dataset);
    plan.set_dataset_digest(digest);
    plan.set_subset(v1::ALL_LABELED);
    plan.mutable_image()->set_size(32);
    plan.set_batch_size(kBatch);
    return plan;
  }

  // All batches of an epoch, or the error that ended the stream.
  absl::StatusOr<std::vector<v1::Batch>> Epoch(const v1::DataPlan& plan, int epoch = 0,
                                               int first_step = 0) {
    const auto stream = source_->Open(plan, epoch, first_step);
    std::vector<v1::Batch> batches;
    while (true) {
      ATELIER_ASSIGN_OR_RETURN(std::optional<v1::Batch> batch, stream->Next());
      if (!batch.has_value()) return batches;
      batches.push_back(*std::move(batch));
    }
  }

  // The good data set is described and streamed in full.
  void ExpectGoodRequestsSucceed() {
    ASSERT_OK_AND_ASSIGN(const DatasetDescription good, Describe("good"));
    EXPECT_EQ(good.summary.labeled(), 2 * kPerClass);
    EXPECT_EQ(good.summary.quarantined_size(), 0);
    ASSERT_OK_AND_ASSIGN(const auto batches, Epoch(PlanOf("good", good.summary.digest())));
    EXPECT_EQ(batches.size(), 2 * kPerClass / kBatch);
  }

 private:
  const testing::TempDir dir_;
  const std::shared_ptr<rpc::ChannelFactory> channels_ = rpc::MakeTcpChannelFactory();

 protected:
  std::unique_ptr<DataServer> server_;
  std::unique_ptr<DataClient> client_;
  std::unique_ptr<BatchSource> source_;
};

}  // namespace atelier::data
