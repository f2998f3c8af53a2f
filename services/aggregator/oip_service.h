// inference.GRPCInferenceService. Thread-safe.
#pragma once

#include <memory>

#include "services/aggregator/oip_infer.h"

namespace grpc {
class Service;
}

namespace atelier::aggregator {

class OipService {
 public:
  static std::unique_ptr<OipService> Create(const Serving& serving);
  virtual ~OipService() = default;
  virtual grpc::Service& service() = 0;
  // ServerReady becomes false, open streams end.
  virtual void Drain() = 0;
};

}  // namespace atelier::aggregator
