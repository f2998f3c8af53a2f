// Data-services as servers and their clients in one process: the same batches over TCP, in process,
// from the middle and from another replica; a consumer that stops reading harms nobody.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atelier/v1/data_service.grpc.pb.h"
#include "common/rpc/call_counter.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "services/data/client.h"
#include "services/data/service.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {
namespace {

using ::testing::ElementsAreArray;

constexpr int kPerClass = 48;
constexpr int kBatch = 8;
constexpr int kSteps = 2 * kPerClass / kBatch;
constexpr int64_t kMiB = 1 << 20;

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

class BatchStreamsTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteClasses(dir_.path(), kPerClass); }

  std::unique_ptr<DataServer> Start(bool in_process, int64_t window_bytes = 64 * kMiB,
                                    rpc::ServerOptions server = {}) {
    DataServiceOptions options;
    options.server = std::move(server);
    options.root = dir_.path();
    options.threads = 2;
    options.window_bytes = window_bytes;
    options.server.in_process_only = in_process;
    options.server.max_receive_bytes = rpc::kPictureReceiveBytes;
    return DataServer::Start(std::move(options)).value();
  }
  static std::string Address(DataServer& server) {
    return "127.0.0.1:" + std::to_string(server.server().port());
  }
  // Everything that changes a picture is on; the digest is the data set's.
  v1::DataPlan Plan(DataServer& server, int size) {
    auto client = DataClient::Create(channels_->Connect(Address(server)));
    const DatasetDescription described = client->Describe({}, [](const auto&) {}).value();
    v1::DataPlan plan;
    plan.set_dataset_digest(described.summary.digest());
    plan.set_subset(v1::ALL_LABELED);
    plan.mutable_image()->set_size(size);
    plan.mutable_image()->set_filter(v1::AREA);
    plan.set_batch_size(kBatch);
    plan.set_shuffle(true);
    plan.mutable_augmentation()->set_horizontal_flip(true);
    plan.mutable_augmentation()->set_rotation_degrees(20);
    plan.mutable_augmentation()->set_zoom(0.25);
    plan.mutable_cutmix()->set_variant(v1::CutMixSpec::TIMM);
    plan.mutable_cutmix()->set_alpha(1);
    plan.mutable_cutmix()->set_probability(1);
    return plan;
  }
  // Digests of what is left of a stream.
  static std::vector<std::string> Rest(BatchStream& stream) {
    std::vector<std::string> digests;
    while (true) {
      absl::StatusOr<std::optional<v1::Batch>> batch = stream.Next();
      EXPECT_TRUE(batch.ok()) << batch.status();
      if (!batch.ok() || !batch->has_value()) return digests;
      digests.push_back((*batch)->digest());
    }
  }
  std::vector<std::string> Epoch(const std::string& address, const v1::DataPlan& plan, int epoch,
                                 int first_step = 0) {
    auto source = BatchSource::Create(channels_, {address});
    return Rest(*source->Open(plan, epoch, first_step));
  }

  testing::TempDir dir_;
  std::shared_ptr<rpc::InProcessChannels> channels_ = rpc::MakeInProcessChannels();
};

TEST_F(BatchStreamsTest, OverTcpAndInProcessTheDigestsAreEqual) {
  const auto tcp = Start(false);
  const auto in_process = Start(true);
  channels_->Add("data", in_process->server().server());
  const v1::DataPlan plan = Plan(*tcp, 64);
  for (int epoch = 0; epoch < 2; ++epoch) {
    const std::vector<std::string> expected = Epoch(Address(*tcp), plan, epoch);
    EXPECT_EQ(expected.size(), kSteps);
    EXPECT_THAT(Epoch("inproc:data", plan, epoch), ElementsAreArray(expected)) << epoch;
  }
  EXPECT_NE(Epoch(Address(*tcp), plan, 0), Epoch(Address(*tcp), plan, 1));
  channels_->Remove("data");
}

TEST_F(BatchStreamsTest, BegunInTheMiddleItIsTheTailOfTheWhole) {
  const auto server = Start(false);
  const v1::DataPlan plan = Plan(*server, 64);
  const std::vector<std::string> whole = Epoch(Address(*server), plan, 3);
  // A server that never saw the beginning.
  const auto fresh = Start(false);
  for (const int first : {1, 5, kSteps - 1, kSteps}) {
    EXPECT_THAT(Epoch(Address(*fresh), plan, 3, first),
                ElementsAreArray(whole.begin() + first, whole.end()))
        << first;
  }
}

TEST_F(BatchStreamsTest, AnotherReplicaGoesOnAtTheNextStep) {
  std::vector<std::unique_ptr<DataServer>> replicas;
  replicas.push_back(Start(false));
  replicas.push_back(Start(false));
  const v1::DataPlan plan = Plan(*replicas[0], 224);  // too much to be on its way all at once
  const auto reference = Start(false);
  const std::vector<std::string> whole = Epoch(Address(*reference), plan, 0);

  auto source = BatchSource::Create(channels_, {Address(*replicas[0]), Address(*replicas[1])});
  const auto stream = source->Open(plan, 0, 0);
  constexpr int kBefore = 4;
  std::vector<std::string> digests;
  for (int step = 0; step < kBefore; ++step) {
    ASSERT_OK_AND_ASSIGN(std::optional<v1::Batch> batch, stream->Next());
    digests.push_back(batch->digest());
  }
  const size_t asked = replicas[0]->stats().batches_produced > 0 ? 0 : 1;
  DataServer& other = *replicas[1 - asked];
  ASSERT_EQ(other.stats().batches_produced, 0);
  replicas[asked].reset();
  for (std::string& digest : Rest(*stream)) digests.push_back(std::move(digest));

  EXPECT_THAT(digests, ElementsAreArray(whole));
  // It began where the first one was left (or later: some batches were on their way already).
  EXPECT_GT(other.stats().batches_produced, 0);
  EXPECT_LE(other.stats().batches_produced, kSteps - kBefore);
}

// A trainer's epoch takes longer than a connection may. What was on its way when one was cut comes
// again.
TEST_F(BatchStreamsTest, AnEpochGoesOnOverTheConnectionsThatItOutlives) {
  constexpr int kConnections = 4;
  rpc::ServerOptions aging;
  aging.connection_age = std::chrono::milliseconds(200);
  aging.connection_age_grace = std::chrono::milliseconds(1);
  const auto server = Start(false, 128 * kMiB, aging);
  const auto reference = Start(false);
  const v1::DataPlan plan =
      Plan(*reference, 480);  // a batch or two are on their way at once, not all
  const auto whole =
      BatchSource::Create(channels_, {Address(*reference)})->Open(plan, /*epoch=*/0, 0);

  rpc::ChannelOptions counted;
  counted.call_counter = std::make_shared<rpc::CallCounter>();
  const auto channels = rpc::MakeTcpChannelFactory(counted);
  const auto calls = [&] {
    return counted.call_counter->Snapshot()["/atelier.v1.DataService/StreamBatches"];
  };
  const auto channel = channels->Connect(Address(*server));
  const auto stream = BatchSource::Create(channels, {Address(*server)})->Open(plan, /*epoch=*/0, 0);
  const auto patience = std::chrono::system_clock::now() + std::chrono::minutes(1);
  for (int step = 0; step < kSteps; ++step) {
    SCOPED_TRACE(step);
    ASSERT_OK_AND_ASSIGN(const std::optional<v1::Batch> expected, whole->Next());
    ASSERT_OK_AND_ASSIGN(const std::optional<v1::Batch> batch, stream->Next());
    ASSERT_TRUE(expected.has_value() && batch.has_value());
    EXPECT_EQ(batch->SerializeAsString(), expected->SerializeAsString());
    if (calls() >= kConnections) continue;
    // Trains on it until the connection is too old.
    ASSERT_TRUE(channel->WaitForStateChange(GRPC_CHANNEL_READY, patience));
  }
  ASSERT_OK_AND_ASSIGN(const std::optional<v1::Batch> end, stream->Next());
  EXPECT_FALSE(end.has_value());
  EXPECT_GE(calls(), kConnections);
}

TEST_F(BatchStreamsTest, AConsumerThatStopsReadingLeavesMemoryFlatAndOthersAtTheirRate) {
  constexpr int64_t kWindow = 32 * kMiB;
  constexpr int kSize = 224;  // 1.2 MB a batch, 14 MB an epoch
  const auto free_server = Start(false, kWindow);
  const auto server = Start(false, kWindow);
  const v1::DataPlan plan = Plan(*server, kSize);
  Plan(*free_server, kSize);  // describes: both know the files
  const auto seconds_of_an_epoch = [&](DataServer& from, int epoch) {
    const std::string address = Address(from);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Epoch(address, plan, epoch).size(), kSteps);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  // Three that stop after their first batch, in the epoch that others begin with and in two that
  // nobody else reads. Each on a connection of its own.
  std::vector<std::unique_ptr<BatchSource>> sources;
  std::vector<std::unique_ptr<BatchStream>> stalled;
  for (const int epoch : {0, 1000, 1001}) {
    sources.push_back(BatchSource::Create(rpc::MakeTcpChannelFactory(), {Address(*server)}));
    stalled.push_back(sources.back()->Open(plan, epoch, 0));
    ASSERT_OK_AND_ASSIGN(std::optional<v1::Batch> only, stalled.back()->Next());
    ASSERT_TRUE(only.has_value());
  }
  // Decodes and fills what buffers there are; from now on the cache answers.
  seconds_of_an_epoch(*free_server, 0);
  seconds_of_an_epoch(*server, 0);
  [[maybe_unused]] const int64_t before = ResidentBytes();

  // Rounds of both, in turn: what slows the machine down slows both, so the usual ratio tells.
  std::vector<double> ratios;
  const auto usual_ratio = [&] {
    std::nth_element(ratios.begin(), ratios.begin() + ratios.size() / 2, ratios.end());
    return ratios[ratios.size() / 2];
  };
  int64_t streamed = 0;
  for (int round = 1; round <= 300; ++round) {
    const double alone = seconds_of_an_epoch(*free_server, round);
    ratios.push_back(seconds_of_an_epoch(*server, round) / alone);
    streamed += kSteps * int64_t{kBatch} * kSize * kSize * 3;
    EXPECT_LE(server->stats().window_bytes, kWindow);
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed for a while
    // Each server's window may still fill.
    EXPECT_LE(ResidentBytes() - before, 2 * kWindow) << "after " << streamed / kMiB << " MiB";
#endif
    if (round >= 20 && usual_ratio() <= 1.05) break;
  }
  EXPECT_GE(streamed, 256 * kMiB);
  EXPECT_LE(usual_ratio(), 1.05);
  // The stalled ones lost nothing: what they go on with is the rest of their epoch.
  const std::vector<std::string> whole = Epoch(Address(*free_server), plan, 0);
  EXPECT_THAT(Rest(*stalled[0]), ElementsAreArray(whole.begin() + 1, whole.end()));
}

// The system makes connections to it, and nobody ever answers.
class SilentPort {
 public:
  SilentPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_GE(fd_, 0);
    if (fd_ < 0) return;
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~SilentPort() { Close(); }
  SilentPort(const SilentPort&) = delete;
  SilentPort& operator=(const SilentPort&) = delete;

  const std::string& address() const { return address_; }
  bool WaitForConnection(std::chrono::milliseconds patience) const {
    pollfd waiting = {fd_, POLLIN, 0};
    return ::poll(&waiting, 1, static_cast<int>(patience.count())) == 1;
  }
  // Resets what was connected.
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  std::string address_;
};

// Of which no attempt to connect ends by itself while a test runs.
class PatientChannels final : public rpc::ChannelFactory {
 public:
  std::shared_ptr<grpc::Channel> Connect(const std::string& address) override {
    grpc::ChannelArguments arguments;
    // The least that an attempt gets, in spite of its name.
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3'600'000);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
};

// It is called where a trainer's leases are renewed.
TEST_F(BatchStreamsTest, ACancelDoesNotWaitForTheConnection) {
  constexpr std::chrono::seconds kPatience{30};
  SilentPort port;
  const auto stream = BatchSource::Create(std::make_shared<PatientChannels>(), {port.address()})
                          ->Open({}, /*epoch=*/0, 0);
  auto next = std::async(std::launch::async, [&] { return stream->Next().status(); });
  EXPECT_TRUE(port.WaitForConnection(kPatience));
  auto cancel = std::async(std::launch::async, [&] { stream->Cancel(); });
  EXPECT_EQ(cancel.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(next.wait_for(kPatience), std::future_status::ready);
  port.Close();  // lets go of whoever waits for it nevertheless
  EXPECT_THAT(next.get(), testing::StatusIs(absl::StatusCode::kCancelled));
}

// Sends one batch, as it is.
class OneBatchService final : public v1::DataService::Service {
 public:
  grpc::Status StreamBatches(grpc::ServerContext*, const v1::StreamBatchesRequest*,
                             grpc::ServerWriter<v1::Batch>* writer) override {
    writer->Write(batch);
    return grpc::Status::OK;
  }
  v1::Batch batch;
};

TEST_F(BatchStreamsTest, ABatchWhosePartsDoNotFitIsDataLoss) {
  OneBatchService service;
  ASSERT_OK_AND_ASSIGN(const auto server, rpc::RpcServer::Start({}, {&service}));
  const auto source =
      BatchSource::Create(channels_, {"127.0.0.1:" + std::to_string(server->port())});
  const struct {
    const char* name;
    void (*change)(v1::Batch&);
    bool good;
    v1::Subset subset = v1::ALL_LABELED;
  } cases[] = {
      {"good", [](v1::Batch&) {}, true},
      {"no labels to predict", [](v1::Batch& b) { b.clear_labels(); }, true, v1::TEST},
      {"no labels to train on", [](v1::Batch& b) { b.clear_labels(); }, false},
      {"no picture", [](v1::Batch& b) { b.Clear(); }, false},
      {"no picture, but labels", [](v1::Batch& b) { b.set_size(0); }, false},
      {"negative size", [](v1::Batch& b) { b.set_size(-2); }, false},
      {"too few pixels", [](v1::Batch& b) { b.mutable_pixels()->pop_back(); }, false},
      {"too many pixels", [](v1::Batch& b) { b.mutable_pixels()->push_back('x'); }, false},
      {"higher than its pixels", [](v1::Batch& b) { b.set_height(1 << 30); }, false},
      {"an overflow of the shape",
       [](v1::Batch& b) {
         b.set_height(1 << 30);
         b.set_width(1 << 30);
         b.set_channels(16);
         b.clear_pixels();
       },
       false},
      {"two negative sides",
       [](v1::Batch& b) {
         b.set_height(-4);
         b.set_width(-4);
       },
       false},
      {"a label too many", [](v1::Batch& b) { b.add_labels(1); }, false},
      {"an id too many", [](v1::Batch& b) { b.add_sample_ids(1); }, false},
      {"no ids", [](v1::Batch& b) { b.clear_sample_ids(); }, false},
      {"another step", [](v1::Batch& b) { b.set_step(1); }, false},
  };
  for (const auto& each : cases) {
    SCOPED_TRACE(each.name);
    service.batch.Clear();
    service.batch.set_size(2);
    service.batch.set_height(4);
    service.batch.set_width(4);
    service.batch.set_channels(3);
    service.batch.set_pixels(std::string(2 * 4 * 4 * 3, 'p'));
    for (int i = 0; i < 2 * 3; ++i) service.batch.add_labels(0);
    for (int i = 0; i < 2; ++i) service.batch.add_sample_ids(0);
    each.change(service.batch);
    v1::DataPlan plan;
    plan.set_subset(each.subset);
    const auto batch = source->Open(plan, 0, 0)->Next();
    EXPECT_THAT(batch.status(),
                testing::StatusIs(each.good ? absl::StatusCode::kOk : absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace atelier::data
