// Scripted members and small builders.
#pragma once

#include <condition_variable>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/concurrency/mutex.h"
#include "common/ensemble/preprocessing_digest.h"
#include "services/aggregator/member.h"
#include "services/aggregator/served_version.h"

namespace atelier::aggregator {

constexpr auto kSoon = std::chrono::milliseconds(60);
constexpr auto kFar = std::chrono::seconds(30);

inline std::chrono::steady_clock::time_point In(std::chrono::steady_clock::duration wait) {
  return std::chrono::steady_clock::now() + wait;
}

inline v1::EnsembleMember MakeSpec(const std::string& name, int size = 16, int classes = 2) {
  v1::EnsembleMember spec;
  spec.set_name(name);
  spec.mutable_model()->set_backbone("tiny_cnn");
  spec.mutable_model()->set_classes(classes);
  spec.mutable_model()->mutable_image()->set_size(size);
  spec.set_weights_digest(std::string(64, name.empty() ? '0' : "0123456789abcdef"[name[0] % 16]));
  return spec;
}

inline v1::EnsembleVersion MakeVersion(const std::vector<std::string>& members, int number = 1) {
  v1::EnsembleVersion ensemble;
  ensemble.set_name("paintings");
  ensemble.set_version(number);
  ensemble.add_classes("dog");
  ensemble.add_classes("house");
  for (const std::string& member : members) *ensemble.add_members() = MakeSpec(member);
  ensemble.set_preprocessing_digest(ensemble::PreprocessingDigest(ensemble));
  return ensemble;
}

inline v1::Matrix MakeMatrix(int rows, std::vector<float> row) {
  v1::Matrix matrix;
  matrix.set_rows(rows);
  matrix.set_columns(static_cast<int>(row.size()));
  for (int i = 0; i < rows; ++i) {
    matrix.mutable_data()->append(reinterpret_cast<const char*>(row.data()),
                                  row.size() * sizeof(float));
  }
  return matrix;
}

// Answers each prediction with the same row or status at once, or keeps it until Release.
class FakeMember final : public Member {
 public:
  explicit FakeMember(v1::EnsembleMember spec, std::vector<float> row = {0.25F, 0.75F})
      : spec_(std::move(spec)), row_(std::move(row)) {}

  const v1::EnsembleMember& spec() const override { return spec_; }
  int Copies(int64_t /*bytes*/) const override { return copies; }
  int copies = 0;  // set before it is asked

  void Predict(PixelsPtr pictures, std::chrono::steady_clock::time_point deadline,
               Done done) override {
    absl::Status status;
    {
      MutexLock lock(mutex_);
      asked_.push_back(pictures);
      deadlines_.push_back(deadline);
      changed_.NotifyAll();
      if (holding_) {
        held_.emplace_back(pictures->count, std::move(done));
        return;
      }
      status = status_;
      const bool last_failure = failures_ == 1;
      if (failures_ > 0) --failures_;
      if (last_failure) status_ = absl::OkStatus();
    }
    Answer(pictures->count, status, done);
  }

  void Fail(absl::Status status) { FailTimes(std::move(status), 0); }
  // So many predictions, then answers; 0: all. What was held is not counted.
  void FailTimes(absl::Status status, int times) {
    MutexLock lock(mutex_);
    status_ = std::move(status);
    failures_ = times;
  }
  void Hold() {
    MutexLock lock(mutex_);
    holding_ = true;
  }
  // Answers what was held, and from now on at once.
  void Release() {
    std::vector<std::pair<int, Done>> held;
    absl::Status status;
    {
      MutexLock lock(mutex_);
      holding_ = false;
      held.swap(held_);
      status = status_;
    }
    for (auto& [count, done] : held) Answer(count, status, done);
  }
  void WaitAsked(size_t times) {
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return asked_.size() >= times; });
  }
  std::vector<PixelsPtr> asked() {
    MutexLock lock(mutex_);
    return asked_;
  }
  std::vector<std::chrono::steady_clock::time_point> deadlines() {
    MutexLock lock(mutex_);
    return deadlines_;
  }

 private:
  void Answer(int count, const absl::Status& status, const Done& done) {
    if (status.ok()) {
      done(MakeMatrix(count, row_));
    } else {
      done(status);
    }
  }

  const v1::EnsembleMember spec_;
  const std::vector<float> row_;
  Mutex mutex_;
  CondVar changed_;
  bool holding_ = false;
  absl::Status status_;
  int failures_ = 0;  // left; 0: no end
  std::vector<PixelsPtr> asked_;
  std::vector<std::chrono::steady_clock::time_point> deadlines_;
  std::vector<std::pair<int, Done>> held_;
};

inline PixelsPtr MakePixels(int count, int size = 16, int channels = 3) {
  auto pixels = std::make_shared<Pixels>();
  pixels->count = count;
  pixels->size = size;
  pixels->channels = channels;
  pixels->bytes.resize(static_cast<size_t>(count) * size * size * channels);
  for (size_t i = 0; i < pixels->bytes.size(); ++i) pixels->bytes[i] = static_cast<char>(i * 7);
  return pixels;
}

// A callback's value as a future.
template <typename T>
class Caught {
 public:
  Caught() : promise_(std::make_shared<std::promise<T>>()), future_(promise_->get_future()) {}
  // Copyable; a second call throws, which ends the test.
  auto callback() {
    return [promise = promise_](T value) { promise->set_value(std::move(value)); };
  }
  T Get() { return future_.get(); }
  bool ready() const {
    return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

 private:
  std::shared_ptr<std::promise<T>> promise_;
  std::future<T> future_;
};

}  // namespace atelier::aggregator
