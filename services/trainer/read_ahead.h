// Reads a stream a few batches ahead on a thread of its own, so that training never waits for the
// network while data is there.
#pragma once

#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "atelier/v1/data_service.pb.h"
#include "common/concurrency/bounded_queue.h"
#include "services/data/client.h"

namespace atelier::trainer {

// Used by one thread; Cancel may come from any. The destructor cancels and joins.
class ReadAhead {
 public:
  static constexpr uint64_t kDefaultBytes = 24 << 20;

  // Holds at most `max_bytes` of pixels (at least one batch).
  explicit ReadAhead(std::unique_ptr<data::BatchStream> stream, uint64_t max_bytes = kDefaultBytes);
  ~ReadAhead();

  // The next batch, nothing at the epoch's end.
  absl::StatusOr<std::optional<v1::Batch>> Next();
  void Cancel();

 private:
  using Item = absl::StatusOr<std::optional<v1::Batch>>;
  const std::unique_ptr<data::BatchStream> stream_;
  BoundedQueue<std::unique_ptr<Item>> queue_;
  std::thread reader_;
};

}  // namespace atelier::trainer
