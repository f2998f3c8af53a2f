// A real coordinator for tests that treat it badly: every call by hand, and after each bad turn
// ExpectNextGoodRequestSucceeds().
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/coordinator/server_fixture.h"

namespace atelier::coordinator {

class CoordinatorRpcs : public ServerTest {
 public:
  using ServerTest::registry_;
  using ServerTest::run_stub_;

  // One unary call.
  template <typename Stub, typename Request, typename Response>
  static absl::Status Call(Stub& stub,
                           grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                        Response*),
                           const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    Response response;
    return rpc::FromGrpcStatus((stub.*method)(&context, request, &response));
  }
  // A server stream, read to its end.
  template <typename Stub, typename Request, typename Response>
  static absl::Status Read(Stub& stub,
                           std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                               grpc::ClientContext*, const Request&),
                           const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = (stub.*method)(&context, request);
    Response response;
    while (reader->Read(&response)) {
    }
    return rpc::FromGrpcStatus(reader->Finish());
  }
  absl::Status SubmitPlan(const std::function<void(v1::RunPlan&)>& spoil) {
    v1::SubmitRunRequest request;
    request.set_request_id("bad");
    *request.mutable_plan() = MakePlan({"a", "b"}, {"train"});
    spoil(*request.mutable_plan());
    return Call(*run_stub_, &v1::CoordinatorService::Stub::SubmitRun, request);
  }
  absl::Status PublishEnsemble(const std::function<void(v1::EnsembleVersion&)>& spoil) {
    v1::PublishEnsembleRequest request;
    request.set_request_id("bad");
    *request.mutable_ensemble() = GoodEnsemble("birds");
    spoil(*request.mutable_ensemble());
    return Call(*registry_stub_, &v1::RegistryService::Stub::PublishEnsemble, request);
  }
  v1::EnsembleVersion GoodEnsemble(const std::string& name) {
    v1::EnsembleVersion ensemble;
    ensemble.set_name(name);
    ensemble.add_classes("jay");
    for (const char* member_name : {"a", "b"}) {
      v1::EnsembleMember& member = *ensemble.add_members();
      member.set_name(member_name);
      member.mutable_model()->set_classes(1);
      member.set_weights_digest(*registry_->PutBytes("weights"));
    }
    return ensemble;
  }
  absl::Status Upload(const std::string& digest, int64_t size, const std::string& bytes) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::PutArtifactResponse response;
    const auto writer = registry_stub_->PutArtifact(&context, &response);
    v1::PutArtifactRequest message;
    message.mutable_header()->set_digest(digest);
    message.mutable_header()->set_size(size);
    writer->Write(message);
    message.set_chunk(bytes);
    writer->Write(message);
    writer->WritesDone();
    return rpc::FromGrpcStatus(writer->Finish());
  }
  absl::Status Download(const std::string& digest, int64_t offset) {
    v1::GetArtifactRequest request;
    request.set_digest(digest);
    request.set_offset(offset);
    return Read(*registry_stub_, &v1::RegistryService::Stub::GetArtifact, request);
  }
  // The messages of one work stream, then its end.
  absl::Status Work(const std::vector<v1::TrainerMessage>& messages) {
    const auto stream = fleet_->OpenWork();
    for (const v1::TrainerMessage& message : messages) stream->Send(message);
    while (stream->Receive().has_value()) {
    }
    return stream->Finish();
  }
  static v1::TrainerMessage Hello(const std::string& id) {
    v1::TrainerMessage message;
    message.mutable_hello()->set_trainer_id(id);
    return message;
  }
  // A task under way.
  v1::Lease GrantedLease() {
    if (granted_ == nullptr) {
      Submit(MakePlan({"a"}, {"train"}));
      granted_ = Connect("granted");
      lease_ = Assigned(*granted_).lease();
    }
    return lease_;
  }
  absl::Status FinishTask(const std::function<void(v1::FinishTaskRequest&)>& spoil) {
    v1::FinishTaskRequest request;
    request.set_request_id("bad");
    *request.mutable_lease() = GrantedLease();
    request.set_end(v1::FinishTaskRequest::DONE);
    request.mutable_result()->set_weights_digest(*registry_->PutBytes("weights"));
    spoil(request);
    return Call(*fleet_stub_, &v1::FleetService::Stub::FinishTask, request);
  }
  absl::Status CommitTask(const std::function<void(v1::CommitCheckpointRequest&)>& spoil) {
    v1::CommitCheckpointRequest request;
    request.set_request_id("bad");
    *request.mutable_lease() = GrantedLease();
    request.set_digest(*registry_->PutBytes("checkpoint"));
    spoil(request);
    return Call(*fleet_stub_, &v1::FleetService::Stub::CommitCheckpoint, request);
  }
  absl::Status RegisterDataAs(const std::string& id, const std::string& address) {
    v1::RegisterDataServiceRequest request;
    request.set_id(id);
    request.set_address(address);
    return Call(*fleet_stub_, &v1::FleetService::Stub::RegisterDataService, request);
  }

 protected:
  void SetUp() override {
    ServerTest::SetUp();
    ASSERT_NO_FATAL_FAILURE(RegisterData());
  }
  void TearDown() override {
    granted_.reset();
    ServerTest::TearDown();
  }
  void ExpectNextGoodRequestSucceeds() { EXPECT_NE(Submit(MakePlan({"a"}, {"train"})), ""); }

 private:
  std::unique_ptr<WorkStream> granted_;
  v1::Lease lease_;
};

}  // namespace atelier::coordinator
