// One ModelStreamInfer call: reads ahead a little, answers in the order of the requests, one write
// in flight.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <map>
#include <memory>

#include "common/concurrency/mutex.h"
#include "inference/grpc_predict_v2.pb.h"
#include "services/aggregator/bounded_service.h"
#include "services/aggregator/oip_infer.h"

namespace atelier::aggregator {

// The streams that are open, so that a drain can end them. Thread-safe.
class OipStreams {
 public:
  using Reactor = grpc::ServerBidiReactor<Bounded<inference::ModelInferRequest>,
                                          inference::ModelStreamInferResponse>;

  explicit OipStreams(const Serving& serving);
  ~OipStreams();
  // Kept until its OnDone.
  Reactor* Open(grpc::CallbackServerContext* context);
  // Every open stream finishes what it has read and ends with UNAVAILABLE; so do later ones at
  // once.
  void Close();

 private:
  class Stream;
  friend class Stream;
  void Forget(Stream* stream);

  const Serving serving_;
  Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<Stream*, std::shared_ptr<Stream>> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace atelier::aggregator
