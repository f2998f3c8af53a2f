// One member of a served version: prepared pictures in, probabilities out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "atelier/v1/model.pb.h"

namespace atelier::aggregator {

// uint8 NHWC [count, size, size, channels], 0..255, not scaled.
struct Pixels {
  int count = 0;
  int size = 0;
  int channels = 3;
  std::string bytes;
};
using PixelsPtr = std::shared_ptr<const Pixels>;

// Thread-safe; several predictions may be under way. Owned by shared_ptr: a prediction under way
// keeps its member alive.
class Member {
 public:
  using Done = std::function<void(absl::StatusOr<v1::Matrix>)>;

  virtual ~Member() = default;
  virtual const v1::EnsembleMember& spec() const = 0;
  // How often a prediction of so many bytes of pictures copies them: memory beside `pictures`.
  virtual int Copies(int64_t /*bytes*/) const { return 0; }
  // `pictures` match spec().model().image(). Never blocks. `done` is called exactly once, on any
  // thread, perhaps before Predict returns, perhaps after the deadline: who needs an answer by then
  // keeps a clock of his own. Loads the member's weights when they are not loaded yet.
  virtual void Predict(PixelsPtr pictures, std::chrono::steady_clock::time_point deadline,
                       Done done) = 0;
};

}  // namespace atelier::aggregator
