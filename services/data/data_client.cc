#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include <utility>

#include "atelier/v1/data_service.grpc.pb.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "services/data/client.h"

namespace atelier::data {
namespace {

// Describing reads every file of a dataset.
constexpr std::chrono::minutes kDescribeTimeout{30};
constexpr std::chrono::minutes kPreviewTimeout{1};

using Deadlines = std::chrono::system_clock;

// Of all attempts together.
Deadlines::time_point Deadline(const CallScope& scope, std::chrono::milliseconds otherwise) {
  return Deadlines::now() + scope.timeout.value_or(otherwise);
}

std::unique_ptr<grpc::ClientContext> MakeContext(const CallScope& scope,
                                                 Deadlines::time_point deadline) {
  auto context = scope.parent == nullptr
                     ? std::make_unique<grpc::ClientContext>()
                     : grpc::ClientContext::FromCallbackServerContext(*scope.parent);
  context->set_deadline(deadline);  // the parent's own holds, too
  return context;
}

class DataClientImpl final : public DataClient {
 public:
  explicit DataClientImpl(std::shared_ptr<grpc::Channel> channel)
      : stub_(v1::DataService::NewStub(std::move(channel))) {}

  absl::StatusOr<DatasetDescription> Describe(const v1::DescribeDatasetRequest& request,
                                              const DescribeProgressFn& on_progress,
                                              const CallScope& scope) override {
    DatasetDescription description;
    const auto deadline = Deadline(scope, kDescribeTimeout);
    ATELIER_RETURN_IF_ERROR(rpc::RetryUnavailable({}, rpc::RealSleeper(), [&] {
      description = {};
      const auto context = MakeContext(scope, deadline);
      auto reader = stub_->DescribeDataset(context.get(), request);
      v1::DescribeDatasetResponse part;
      while (reader->Read(&part)) {
        if (part.has_progress()) on_progress(part.progress());
        if (part.has_summary()) description.summary = std::move(*part.mutable_summary());
        for (v1::Sample& sample : *part.mutable_manifest()->mutable_samples()) {
          description.samples.push_back(std::move(sample));
        }
      }
      return rpc::FromGrpcStatus(reader->Finish());
    }));
    return description;
  }

  absl::StatusOr<v1::PreviewResponse> Preview(const v1::PreviewRequest& request,
                                              const CallScope& scope) override {
    v1::PreviewResponse response;
    const auto deadline = Deadline(scope, kPreviewTimeout);
    ATELIER_RETURN_IF_ERROR(rpc::RetryUnavailable({}, rpc::RealSleeper(), [&] {
      const auto context = MakeContext(scope, deadline);
      return rpc::FromGrpcStatus(stub_->Preview(context.get(), request, &response));
    }));
    return response;
  }

 private:
  const std::unique_ptr<v1::DataService::Stub> stub_;
};

}  // namespace

std::unique_ptr<DataClient> DataClient::Create(std::shared_ptr<grpc::Channel> channel) {
  return std::make_unique<DataClientImpl>(std::move(channel));
}

std::string DataPlanDigest(const v1::DataPlan& plan) {
  v1::DataPlan content = plan;
  content.clear_dataset();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    content.SerializeToCodedStream(&coded);
  }
  return Sha256Hex(bytes);
}

}  // namespace atelier::data
