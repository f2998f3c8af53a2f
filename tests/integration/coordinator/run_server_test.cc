// Runs over the wire: submission, work streams, watching, restart, drain.
#include "tests/integration/coordinator/server_fixture.h"

namespace atelier::coordinator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunServerTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    ASSERT_NO_FATAL_FAILURE(RegisterData());
  }
  // Watches in the background until the run has ended.
  struct Watched {
    std::vector<int64_t> numbers;
    int progress = 0;
    v1::RunState last = v1::RUN_STATE_UNSPECIFIED;
    absl::Status status;
  };
  std::future<Watched> Watch(const std::string& run_id, int64_t after = 0) {
    return std::async(std::launch::async, [this, run_id, after] {
      const auto client = RunClient::Create(Channel());
      Watched watched;
      watched.status = client->Watch(run_id, after, [&](const v1::RunEvent& event) {
        if (event.number() > 0) watched.numbers.push_back(event.number());
        if (event.has_progress()) ++watched.progress;
        if (event.has_run()) watched.last = event.run().state();
        return true;
      });
      return watched;
    });
  }
  static std::vector<int64_t> Range(int64_t first, int64_t last) {
    std::vector<int64_t> numbers;
    for (int64_t i = first; i <= last; ++i) numbers.push_back(i);
    return numbers;
  }
};

TEST_F(RunServerTest, ARunGoesFromSubmissionToAPromotedVersion) {
  ASSERT_OK_AND_ASSIGN(const v1::SubmitRunResponse submitted,
                       runs_->Submit(MakePlan({"a"}, {"train"})));
  EXPECT_EQ(submitted.dataset().labeled(), 12);
  auto watched = Watch(submitted.run_id());
  auto stream = Connect("t1");
  const v1::Assignment assignment = Assigned(*stream);
  EXPECT_EQ(assignment.lease().run_id(), submitted.run_id());
  EXPECT_THAT(assignment.plan().classes(), ElementsAre("jay", "owl"));
  EXPECT_THAT(assignment.data_addresses(),
              ElementsAre("127.0.0.1:" + std::to_string(data_server_->port())));
  ASSERT_NO_FATAL_FAILURE(Progress(*stream, assignment.lease(), 1));

  ASSERT_OK_AND_ASSIGN(const v1::ListFleetResponse fleet, fleet_->ListFleet());
  ASSERT_EQ(fleet.trainers_size(), 1);
  EXPECT_EQ(fleet.trainers(0).predict_address(), "127.0.0.1:4711");
  EXPECT_EQ(fleet.trainers(0).current().member(), "a");

  Commit(assignment.lease(), 5);
  ASSERT_THAT(Finish(assignment.lease()), IsOk());
  ASSERT_EQ(watched.wait_for(kPatience), std::future_status::ready);
  const Watched seen = watched.get();
  EXPECT_THAT(seen.status, IsOk());
  EXPECT_EQ(seen.last, v1::RUN_DONE);
  ASSERT_OK_AND_ASSIGN(const v1::Run run, runs_->Get(submitted.run_id()));
  EXPECT_EQ(run.state(), v1::RUN_DONE);
  EXPECT_EQ(seen.numbers, Range(1, run.last_event()));
  EXPECT_DOUBLE_EQ(run.metrics().accuracy(), 1.0);
  EXPECT_EQ(run.tasks(0).checkpoint_cursor().step(), 5);
  ASSERT_OK_AND_ASSIGN(const v1::EnsembleVersion promoted, registry_->GetEnsemble("", 0));
  EXPECT_EQ(promoted.run_id(), submitted.run_id());
  ASSERT_OK_AND_ASSIGN(const v1::ListRunsResponse runs, runs_->List());
  EXPECT_EQ(runs.runs_size(), 1);
}

TEST_F(RunServerTest, WatchingGoesOnAfterTheEventSeenLastWithoutGapOrDouble) {
  const std::string run_id = Submit(MakePlan({"a"}, {"train"}));
  auto stream = Connect("t1");
  const v1::Lease lease = Assigned(*stream).lease();
  for (int i = 1; i <= 5; ++i) ASSERT_NO_FATAL_FAILURE(Progress(*stream, lease, i));

  std::vector<int64_t> numbers;
  EXPECT_THAT(runs_->Watch(run_id, 0,
                           [&](const v1::RunEvent& event) {
                             if (event.number() > 0) numbers.push_back(event.number());
                             return event.number() != 4;
                           }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(numbers, Range(1, 4));
  auto rest = Watch(run_id, 4);
  for (int i = 6; i <= 300; ++i) ASSERT_NO_FATAL_FAILURE(Progress(*stream, lease, i));
  ASSERT_THAT(Finish(lease), IsOk());
  ASSERT_EQ(rest.wait_for(kPatience), std::future_status::ready);
  const int64_t last = runs_->Get(run_id)->last_event();
  EXPECT_GE(last, 304);
  EXPECT_EQ(rest.get().numbers, Range(5, last));
  // Of a run that has ended: everything, more than one page, then OK.
  EXPECT_EQ(Watch(run_id).get().numbers, Range(1, last));
  EXPECT_THAT(Watch("nobody").get().status, StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(RunServerTest, AWrongDatasetFailsTheSubmissionWithTheDataServicesError) {
  v1::RunPlan plan = MakePlan({"a"}, {"train"});
  plan.set_dataset("missing");
  EXPECT_THAT(runs_->Submit(plan), StatusIs(absl::StatusCode::kNotFound,
                                            HasSubstr("no folder missing; there are: birds")));
  plan = MakePlan({"a"}, {"train"});
  plan.set_batch_size(5000);
  EXPECT_THAT(runs_->Submit(plan),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("batch_size is 5000")));
  EXPECT_EQ(runs_->List()->runs_size(), 0);
  EXPECT_NE(Submit(MakePlan({"a"}, {"train"})), "");
}

TEST_F(RunServerTest, WithoutADataServiceASubmissionSaysSo) {
  v1::RegisterDataServiceRequest request;
  request.set_id("data");
  request.set_leaving(true);
  v1::RegisterDataServiceResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(fleet_stub_->RegisterDataService(&context, request, &response).ok());
  EXPECT_THAT(runs_->Submit(MakePlan({"a"}, {"train"})),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("atelier-data")));
}

TEST_F(RunServerTest, AfterARestartTheDataServiceIsWaitedForAndThenAPlanIsTaken) {
  server_.reset();
  ASSERT_NO_FATAL_FAILURE(StartServer());
  int told = 0;
  const auto register_meanwhile = [&](std::chrono::milliseconds) {
    RegisterData();
    return true;
  };
  for (int i = 0; i < 2; ++i) {  // the second time there is one, and nothing to tell
    EXPECT_THAT(AwaitDataService(*fleet_, {}, register_meanwhile, [&] { ++told; }), IsOk());
    EXPECT_EQ(told, 1);
  }
  EXPECT_NE(Submit(MakePlan({"a"}, {"train"})), "");
}

TEST_F(RunServerTest, ADataServiceThatDoesNotComeIsWaitedForABoundedTime) {
  server_.reset();
  ASSERT_NO_FATAL_FAILURE(StartServer());
  int told = 0;
  int pauses = 0;
  const auto nobody_comes = [&](std::chrono::milliseconds) { return ++pauses > 0; };
  EXPECT_THAT(AwaitDataService(*fleet_, {.max_attempts = 5}, nobody_comes, [&] { ++told; }),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("atelier-data")));
  EXPECT_EQ(told, 1);
  EXPECT_EQ(pauses, 4);
}

TEST_F(RunServerTest, ACoordinatorThatDoesNotAnswerIsNotWaitedFor) {
  server_.reset();
  int pauses = 0;
  const auto count = [&](std::chrono::milliseconds) { return ++pauses > 0; };
  EXPECT_THAT(AwaitDataService(*fleet_, {}, count), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(pauses, 0);
}

TEST_F(RunServerTest, InspectionAndPreviewAreRelayed) {
  v1::DescribeDatasetRequest request;
  request.set_dataset(".");
  request.set_want_manifest(true);
  int labeled = 0;
  int samples = 0;
  ASSERT_THAT(runs_->InspectDataset(request,
                                    [&](const v1::DescribeDatasetResponse& part) {
                                      if (part.has_summary()) labeled = part.summary().labeled();
                                      samples += part.manifest().samples_size();
                                    }),
              IsOk());
  EXPECT_EQ(labeled, 12);
  EXPECT_EQ(samples, 3);
  request.set_dataset("missing");
  EXPECT_THAT(runs_->InspectDataset(request, [](const v1::DescribeDatasetResponse&) {}),
              StatusIs(absl::StatusCode::kNotFound));
  v1::PreviewRequest preview;
  preview.set_count(2);
  EXPECT_EQ(runs_->PreviewDataset(preview)->pictures_size(), 2);
}

TEST_F(RunServerTest, ARestartInTheMiddleOfATaskGoesOnAsTheSameAttempt) {
  const std::string run_id = Submit(MakePlan({"a"}, {"train"}));
  auto stream = Connect("t1");
  const v1::Lease lease = Assigned(*stream).lease();
  Commit(lease, 5);
  auto watched = Watch(run_id);  // across the restart
  server_->Drain(std::chrono::milliseconds(0));
  while (stream->Receive().has_value()) {
  }
  stream.reset();
  server_.reset();
  ASSERT_NO_FATAL_FAILURE(StartServer());

  stream = Connect("t1", &lease);
  ASSERT_NO_FATAL_FAILURE(RegisterData());
  ASSERT_NO_FATAL_FAILURE(Progress(*stream, lease, 7));
  Commit(lease, 10);
  ASSERT_THAT(Finish(lease), IsOk());
  ASSERT_EQ(watched.wait_for(kPatience), std::future_status::ready);
  const Watched seen = watched.get();
  EXPECT_THAT(seen.status, IsOk());
  ASSERT_OK_AND_ASSIGN(const v1::Run run, runs_->Get(run_id));
  EXPECT_EQ(seen.numbers, Range(1, run.last_event()));
  EXPECT_EQ(run.state(), v1::RUN_DONE);
  ASSERT_EQ(run.tasks(0).attempts_size(), 1);
  EXPECT_EQ(run.tasks(0).attempts(0).end_kind(), v1::ATTEMPT_DONE);
}

TEST_F(RunServerTest, ASecondCoordinatorOnTheSameStateIsRefused) {
  CoordinatorOptions options;
  options.state_dir = dir_.path();
  options.channels = channels_;
  EXPECT_THAT(CoordinatorServer::Start(std::move(options)),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunServerTest, CancelReachesTheTrainerAndItsLateResultIsRefused) {
  const std::string run_id = Submit(MakePlan({"a"}, {"train"}));
  auto stream = Connect("t1");
  const v1::Lease lease = Assigned(*stream).lease();
  ASSERT_THAT(runs_->Cancel(run_id, "enough"), IsOk());
  const auto message = stream->Receive();
  ASSERT_TRUE(message.has_value() && message->has_cancel());
  EXPECT_EQ(message->cancel().lease().SerializeAsString(), lease.SerializeAsString());
  EXPECT_THAT(Finish(lease), StatusIs(absl::StatusCode::kAborted));
  ASSERT_THAT(runs_->Resume(run_id), IsOk());
  EXPECT_EQ(Assigned(*stream).lease().epoch(), 2);
}

TEST_F(RunServerTest, AStreamThatDoesNotBeginWithHelloIsRefused) {
  auto stream = fleet_->OpenWork();
  v1::TrainerMessage message;
  message.mutable_heartbeat();
  ASSERT_TRUE(stream->Send(message));
  EXPECT_FALSE(stream->Receive().has_value());
  EXPECT_THAT(stream->Finish(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hello")));
}

// Reads until the stream's end; the call's status.
template <typename Reader, typename Message>
absl::Status EndOf(Reader& reader, Message message) {
  while (reader.Read(&message)) {
  }
  return rpc::FromGrpcStatus(reader.Finish());
}

TEST_F(RunServerTest, DrainEndsOpenStreamsAndTellsThemToComeBack) {
  v1::EnsembleVersion version;
  version.set_name("birds");
  version.add_classes("jay");
  v1::EnsembleMember& member = *version.add_members();
  member.set_name("a");
  member.mutable_model()->set_classes(1);
  member.set_weights_digest(*registry_->PutBytes("weights"));
  ASSERT_THAT(registry_->Publish(version, true), IsOk());
  const std::string run_id = Submit(MakePlan({"a", "b"}, {"train"}));
  auto busy = Connect("t1");
  Assigned(*busy);
  auto idle = Connect("t2");
  Assigned(*idle);
  grpc::ClientContext watch_context;
  v1::WatchRunRequest watch;
  watch.set_run_id(run_id);
  auto watcher = run_stub_->WatchRun(&watch_context, watch);
  v1::RunEvent event;
  ASSERT_TRUE(watcher->Read(&event));
  grpc::ClientContext promoted_context;
  auto promoted = registry_stub_->WatchPromoted(&promoted_context, {});
  v1::PromotedEnsemble first;
  ASSERT_TRUE(promoted->Read(&first));  // it has begun

  auto drained =
      std::async(std::launch::async, [this] { server_->Drain(std::chrono::milliseconds(200)); });
  EXPECT_THAT(EndOf(*watcher, v1::RunEvent()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(EndOf(*promoted, v1::PromotedEnsemble()), StatusIs(absl::StatusCode::kUnavailable));
  while (busy->Receive().has_value()) {
  }
  EXPECT_THAT(busy->Finish(), StatusIs(absl::StatusCode::kUnavailable));
  while (idle->Receive().has_value()) {
  }
  EXPECT_EQ(drained.wait_for(kPatience), std::future_status::ready);
}

TEST_F(RunServerTest, StreamsEndAtTheConnectionsAgeAndGoOnOverANewOne) {
  server_.reset();
  options_.server.connection_age = std::chrono::milliseconds(300);
  options_.server.connection_age_grace = std::chrono::milliseconds(200);
  ASSERT_NO_FATAL_FAILURE(StartServer());
  ASSERT_NO_FATAL_FAILURE(RegisterData());
  const std::string run_id = Submit(MakePlan({"a"}, {"train"}));
  auto watched = Watch(run_id);
  auto stream = Connect("t1");
  const v1::Lease lease = Assigned(*stream).lease();
  while (stream->Receive().has_value()) {  // until the connection is too old
  }
  EXPECT_THAT(stream->Finish(), StatusIs(absl::StatusCode::kUnavailable));
  stream = Connect("t1", &lease);
  ASSERT_NO_FATAL_FAILURE(Progress(*stream, lease, 1));
  ASSERT_THAT(Finish(lease), IsOk());
  ASSERT_EQ(watched.wait_for(kPatience), std::future_status::ready);
  ASSERT_OK_AND_ASSIGN(const v1::Run run, runs_->Get(run_id));
  const Watched seen = watched.get();
  EXPECT_THAT(seen.status, IsOk());
  EXPECT_EQ(seen.numbers, Range(1, run.last_event()));
  EXPECT_EQ(run.tasks(0).attempts_size(), 1);
}

}  // namespace
}  // namespace atelier::coordinator
