// bench_pipeline DIR SIZE BATCH THREADS: images/s of the data-service's production of whole epochs
// (services/data: BatchProducer on THREADS threads). A round begins with nothing decoded; its line
// has the first epoch's rate and the best of the two that follow.
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "services/data/batch_producer.h"
#include "tests/bench/round_loop.h"

namespace atelier::data {
namespace {

constexpr int64_t kCacheBytes = int64_t{1} << 30;  // the service's default

// RECIPE's augmentation in full.
v1::DataPlan MakePlan(int size, int batch) {
  v1::DataPlan plan;
  plan.set_dataset(".");
  plan.set_subset(v1::ALL_LABELED);
  plan.mutable_image()->set_size(size);
  plan.mutable_image()->set_filter(v1::BILINEAR);
  plan.set_batch_size(batch);
  plan.set_seed(1);
  plan.set_shuffle(true);
  v1::AugmentationSpec& augmentation = *plan.mutable_augmentation();
  augmentation.set_horizontal_flip(true);
  augmentation.set_vertical_flip(true);
  augmentation.set_brightness_min(0.6F);
  augmentation.set_brightness_max(1.4F);
  augmentation.set_rotation_degrees(15);
  augmentation.set_shear_degrees(0.1F);
  augmentation.set_zoom(0.2F);
  augmentation.set_width_shift(0.1F);
  augmentation.set_height_shift(0.1F);
  plan.mutable_cutmix()->set_variant(v1::CutMixSpec::NOTEBOOK);
  return plan;
}

// Images/s, negative after an error.
double Epoch(const BatchProducer& producer, int threads) {
  const auto begun = std::chrono::steady_clock::now();
  std::atomic<int> next{0};
  std::atomic<int64_t> images{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (int step = next++; step < producer.steps(); step = next++) {
        const auto batch = producer.Produce(step);
        if (!batch.ok()) {
          std::fprintf(stderr, "%s\n", batch.status().ToString().c_str());
          failed = true;
          return;
        }
        images += batch->size();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  return failed ? -1 : static_cast<double>(images) / bench::Seconds(begun);
}

int Main(const std::string& folder, int size, int batch, int threads) {
  const auto catalog = Catalog::Create(folder, {}, threads);
  if (!catalog.ok()) return 1;
  const auto dataset = (*catalog)->Describe({}, [](int, int) {});
  if (!dataset.ok()) {
    std::fprintf(stderr, "%s\n", dataset.status().ToString().c_str());
    return 1;
  }
  v1::DataPlan plan = MakePlan(size, batch);
  plan.set_dataset_digest((*dataset)->digest);
  return bench::AnswerRounds([&] {
    PictureCache cache(kCacheBytes);
    double first = 0;
    double later = 0;
    for (int epoch = 0; epoch < 3; ++epoch) {
      const auto producer = BatchProducer::Create(**catalog, cache, *dataset, plan, epoch);
      const double rate = producer.ok() ? Epoch(**producer, threads) : -1;
      if (epoch == 0) first = rate;
      if (epoch > 0) later = std::max(later, rate);
    }
    return absl::StrFormat("{\"first epoch\": %f, \"later epochs\": %f}", first, later);
  });
}

}  // namespace
}  // namespace atelier::data

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  return atelier::data::Main(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
}
