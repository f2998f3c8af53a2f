#include "services/trainer/read_ahead.h"

#include <utility>

namespace atelier::trainer {

ReadAhead::ReadAhead(std::unique_ptr<data::BatchStream> stream, uint64_t max_bytes)
    : stream_(std::move(stream)), queue_(max_bytes) {
  reader_ = std::thread([this] {
    while (true) {
      auto item = std::make_unique<Item>(stream_->Next());
      const bool last = !item->ok() || !(*item)->has_value();
      const uint64_t cost = last ? 0 : (*item)->value().pixels().size();
      if (!queue_.Push(std::move(item), cost) || last) return;
    }
  });
}

ReadAhead::~ReadAhead() {
  Cancel();
  reader_.join();
}

absl::StatusOr<std::optional<v1::Batch>> ReadAhead::Next() {
  std::optional<std::unique_ptr<Item>> item = queue_.Pop();
  if (!item.has_value()) return absl::CancelledError("the batch stream was cancelled");
  return std::move(**item);
}

void ReadAhead::Cancel() {
  stream_->Cancel();
  queue_.Close();
}

}  // namespace atelier::trainer
