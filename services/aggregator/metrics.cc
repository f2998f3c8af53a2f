#include "services/aggregator/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <utility>

namespace atelier::aggregator {
namespace {

// From a cached tiny member to the imposed deadline of 30 s.
const prometheus::Histogram::BucketBoundaries kSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                          0.5,   1,    2.5,   5,    10,  30};

class MetricsImpl final : public Metrics {
 public:
  explicit MetricsImpl(std::shared_ptr<prometheus::Registry> registry)
      : registry_(std::move(registry)),
        requests_(prometheus::BuildCounter()
                      .Name("atelier_aggregator_requests_total")
                      .Help("Finished predict requests by API and gRPC code")
                      .Register(*registry_)),
        latency_(prometheus::BuildHistogram()
                     .Name("atelier_aggregator_request_seconds")
                     .Help("Time from a predict request's arrival to its answer")
                     .Register(*registry_)),
        failures_(prometheus::BuildCounter()
                      .Name("atelier_aggregator_member_failures_total")
                      .Help("Predictions a member failed or was too late for, by code")
                      .Register(*registry_)),
        queue_(prometheus::BuildGauge()
                   .Name("atelier_aggregator_queue_bytes")
                   .Help("Payload, prepared pixels and members' copies of these that are in memory")
                   .Register(*registry_)
                   .Add({})),
        images_(prometheus::BuildCounter()
                    .Name("atelier_aggregator_images_total")
                    .Help("Pictures answered; its rate is images per second")
                    .Register(*registry_)
                    .Add({})),
        degraded_(prometheus::BuildCounter()
                      .Name("atelier_aggregator_degraded_total")
                      .Help("Requests answered without all members")
                      .Register(*registry_)
                      .Add({})) {}

  void RecordRequest(std::string_view api, const absl::Status& status,
                     std::chrono::nanoseconds latency, int images, bool degraded) override {
    requests_.Add({{"api", std::string(api)}, {"code", absl::StatusCodeToString(status.code())}})
        .Increment();
    latency_.Add({{"api", std::string(api)}}, kSeconds)
        .Observe(std::chrono::duration<double>(latency).count());
    if (!status.ok()) return;
    images_.Increment(images);
    if (degraded) degraded_.Increment();
  }

  void RecordMemberFailure(const std::string& member, const absl::Status& status) override {
    failures_.Add({{"member", member}, {"code", absl::StatusCodeToString(status.code())}})
        .Increment();
  }

  void SetQueueBytes(int64_t bytes) override { queue_.Set(static_cast<double>(bytes)); }

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& latency_;
  prometheus::Family<prometheus::Counter>& failures_;
  prometheus::Gauge& queue_;
  prometheus::Counter& images_;
  prometheus::Counter& degraded_;
};

}  // namespace

std::unique_ptr<Metrics> Metrics::Create(std::shared_ptr<prometheus::Registry> registry) {
  if (registry == nullptr) registry = std::make_shared<prometheus::Registry>();
  return std::make_unique<MetricsImpl>(std::move(registry));
}

}  // namespace atelier::aggregator
