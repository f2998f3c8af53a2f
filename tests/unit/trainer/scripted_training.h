// A small task with scripted batches, and a coordinator and a registry in memory.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/sha256.h"
#include "common/base/status.h"
#include "services/coordinator/client.h"
#include "services/data/client.h"
#include "tests/testing/unimplemented_registry.h"

namespace atelier::trainer {

inline constexpr int kSteps = 5;
inline constexpr int kEpochs = 3;
inline constexpr int kBatch = 4;
inline constexpr int kClasses = 3;

class ScriptedStream final : public data::BatchStream {
 public:
  ScriptedStream(int epoch, int step, int classes, std::function<void()> on_cancel)
      : epoch_(epoch), step_(step), classes_(classes), on_cancel_(std::move(on_cancel)) {}
  absl::StatusOr<std::optional<v1::Batch>> Next() override {
    if (step_ >= kSteps) return std::optional<v1::Batch>();
    v1::Batch batch;
    batch.set_epoch(epoch_);
    batch.set_step(step_);
    batch.set_steps_in_epoch(kSteps);
    batch.set_size(kBatch);
    batch.set_height(32);
    batch.set_width(32);
    batch.set_channels(3);
    std::string& pixels = *batch.mutable_pixels();
    pixels.resize(kBatch * 32 * 32 * 3);
    for (size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<char>((i * 7 + static_cast<size_t>(epoch_ * 61 + step_ * 17)) % 251);
    }
    for (int i = 0; i < kBatch; ++i) {
      batch.add_sample_ids(static_cast<uint32_t>(step_ * kBatch + i));
      for (int k = 0; k < classes_; ++k) batch.add_labels((step_ + i) % 3 == k ? 1.0F : 0.0F);
    }
    batch.set_digest(Sha256Hex(pixels));
    ++step_;
    return std::optional<v1::Batch>(std::move(batch));
  }
  void Cancel() override { on_cancel_(); }

 private:
  const int epoch_;
  int step_;
  const int classes_;
  const std::function<void()> on_cancel_;
};

class ScriptedSource final : public data::BatchSource {
 public:
  explicit ScriptedSource(
      int classes = kClasses, std::function<void()> on_cancel = [] {})
      : classes_(classes), on_cancel_(std::move(on_cancel)) {}
  std::unique_ptr<data::BatchStream> Open(const v1::DataPlan&, int epoch, int step) override {
    return std::make_unique<ScriptedStream>(epoch, step, classes_, on_cancel_);
  }

 private:
  const int classes_;
  const std::function<void()> on_cancel_;
};

// The same with `edit` applied to each batch.
class EditedSource final : public data::BatchSource {
 public:
  using Edit = std::function<void(const v1::DataPlan&, v1::Batch&)>;
  explicit EditedSource(Edit edit) : edit_(std::move(edit)) {}
  std::unique_ptr<data::BatchStream> Open(const v1::DataPlan& plan, int epoch, int step) override {
    return std::make_unique<Stream>(source_.Open(plan, epoch, step),
                                    [this, plan](v1::Batch& batch) { edit_(plan, batch); });
  }

 private:
  class Stream final : public data::BatchStream {
   public:
    Stream(std::unique_ptr<data::BatchStream> stream, std::function<void(v1::Batch&)> edit)
        : stream_(std::move(stream)), edit_(std::move(edit)) {}
    absl::StatusOr<std::optional<v1::Batch>> Next() override {
      auto batch = stream_->Next();
      if (batch.ok() && batch->has_value()) edit_(**batch);
      return batch;
    }
    void Cancel() override { stream_->Cancel(); }

   private:
    const std::unique_ptr<data::BatchStream> stream_;
    const std::function<void(v1::Batch&)> edit_;
  };

  const Edit edit_;
  ScriptedSource source_;
};

// A disk that is full for as many writes as the test says.
class FakeDisk {
 public:
  absl::Status Write() {
    if (full_for <= 0) return absl::OkStatus();
    --full_for;
    ++refused;
    return absl::ResourceExhaustedError("no space left on device");
  }
  std::atomic<int> full_for = 0;
  std::atomic<int> refused = 0;
};

class FakeFleet final : public coordinator::FleetClient {
 public:
  std::unique_ptr<coordinator::WorkStream> OpenWork() override { return nullptr; }
  // With the coordinator's rules for ids.
  absl::Status CommitCheckpoint(v1::CommitCheckpointRequest request) override {
    ATELIER_RETURN_IF_ERROR(disk.Write());
    if (request.request_id().empty() || request.request_id().size() > 128) {
      return absl::InvalidArgumentError("request_id has 1 to 128 characters");
    }
    for (const v1::CommitCheckpointRequest& earlier : commits) {
      if (earlier.request_id() != request.request_id()) continue;
      if (earlier.SerializeAsString() == request.SerializeAsString()) return absl::OkStatus();
      return absl::InvalidArgumentError("request_id was used with another payload");
    }
    commits.push_back(std::move(request));
    return absl::OkStatus();
  }
  absl::Status FinishTask(v1::FinishTaskRequest request) override {
    ATELIER_RETURN_IF_ERROR(disk.Write());
    finishes.push_back(std::move(request));
    return absl::OkStatus();
  }
  absl::StatusOr<v1::ListFleetResponse> ListFleet() override { return v1::ListFleetResponse(); }
  std::vector<v1::CommitCheckpointRequest> commits;  // read after the writer's Flush
  std::vector<v1::FinishTaskRequest> finishes;
  FakeDisk disk;
};

class FakeRegistry : public testing::UnimplementedRegistry {
 public:
  absl::StatusOr<std::string> PutBytes(std::string_view bytes) override {
    ATELIER_RETURN_IF_ERROR(disk.Write());
    const std::string digest = Sha256Hex(bytes);
    stored[digest] = std::string(bytes);
    return digest;
  }
  absl::StatusOr<std::string> GetBytes(const std::string& digest) override {
    const auto found = stored.find(digest);
    if (found == stored.end()) return absl::NotFoundError("no artifact " + digest);
    return found->second;
  }
  absl::StatusOr<bool> Exists(const std::string& digest) override { return stored.count(digest); }
  std::map<std::string, std::string> stored;
  FakeDisk disk;
};

inline v1::Assignment Task() {
  v1::Assignment task;
  task.mutable_stage()->set_epochs(kEpochs);
  task.mutable_stage()->mutable_optimizer()->set_learning_rate(1e-3F);
  task.mutable_stage()->mutable_schedule()->set_cosine(true);
  task.mutable_stage()->mutable_schedule()->set_warmup_steps(2);
  v1::ModelSpec& model = *task.mutable_model();
  model.set_backbone("tiny_cnn");
  model.mutable_head()->set_hidden_units(8);
  model.mutable_head()->set_dropout(0.5F);
  model.mutable_image()->set_size(32);
  model.set_classes(kClasses);
  task.mutable_training()->set_subset(v1::ALL_LABELED);
  task.mutable_validation()->set_subset(v1::VALIDATION);
  task.set_member_seed(7);
  // The longest that a plan may have: an id of the coordinator's holds no more than 128 characters.
  task.mutable_lease()->set_run_id(std::string(61, 'r'));
  task.mutable_lease()->set_member(std::string(64, 'm'));
  task.mutable_lease()->set_stage(std::string(64, 's'));
  return task;
}

}  // namespace atelier::trainer
