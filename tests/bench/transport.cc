// bench_transport ADDRESS SIZE BATCH: GB/s of pixels from a running data-service over its batch
// stream. A round's line has two rates: batches that the service has ready in its window (transport
// alone), and batches that it makes of cached pictures while it sends.
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "common/rpc/channel.h"
#include "services/data/client.h"
#include "tests/bench/round_loop.h"

namespace atelier::data {
namespace {

struct Session {
  std::unique_ptr<BatchSource> source;
  v1::DataPlan plan;

  // GB/s of one epoch, negative after an error.
  double Epoch(int epoch) {
    const auto begun = std::chrono::steady_clock::now();
    int64_t bytes = 0;
    const auto stream = source->Open(plan, epoch, 0);
    while (true) {
      const auto batch = stream->Next();
      if (!batch.ok()) {
        std::fprintf(stderr, "%s\n", batch.status().ToString().c_str());
        return -1;
      }
      if (!batch->has_value()) break;
      bytes += static_cast<int64_t>((*batch)->pixels().size());
    }
    return static_cast<double>(bytes) / bench::Seconds(begun) / 1e9;
  }
};

int Main(const std::string& address, int size, int batch) {
  const auto channels = rpc::MakeTcpChannelFactory();
  Session session;
  session.source = BatchSource::Create(channels, {address});
  const auto described =
      DataClient::Create(channels->Connect(address))->Describe({}, [](const auto&) {});
  if (!described.ok()) {
    std::fprintf(stderr, "%s\n", described.status().ToString().c_str());
    return 1;
  }
  session.plan.set_dataset_digest(described->summary.digest());
  session.plan.set_subset(v1::ALL_LABELED);
  session.plan.mutable_image()->set_size(size);
  session.plan.set_batch_size(batch);
  session.plan.set_shuffle(true);
  if (session.Epoch(0) < 0) return 1;  // pictures are decoded and cached from now on

  int next_epoch = 1;
  return bench::AnswerRounds([&] {
    const int epoch = next_epoch++;
    // Keeps the epoch's batches in the window: a consumer that waits at its second batch.
    const auto holder = session.source->Open(session.plan, epoch, 0);
    if (!holder->Next().ok()) return std::string("{}");
    const double made = session.Epoch(epoch);
    const double ready = session.Epoch(epoch);
    return absl::StrFormat("{\"ready batches\": %f, \"batches of cached pictures\": %f}", ready,
                           made);
  });
}

}  // namespace
}  // namespace atelier::data

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return atelier::data::Main(argv[1], std::atoi(argv[2]), std::atoi(argv[3]));
}
