// atelier.v1.AggregatorService. Thread-safe.
#pragma once

#include <memory>

#include "services/aggregator/oip_infer.h"

namespace grpc {
class Service;
}

namespace atelier::aggregator {

std::unique_ptr<grpc::Service> MakeAggregatorService(const Serving& serving);

}  // namespace atelier::aggregator
