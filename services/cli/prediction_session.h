// The aggregator that predict and evaluate ask: embedded with a resolved ensemble, or a remote one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "common/vision/decode.h"
#include "services/aggregator/client.h"
#include "services/cli/embedded.h"

namespace atelier::cli {

struct PredictionTarget {
  std::string ensemble;         // RUN, NAME, NAME@VERSION; empty: the only one there is
  std::string aggregator;       // HOST:PORT: ask this one instead
  std::string coordinator;      // HOST:PORT: names are looked up in its registry
  vision::DecodeLimits limits;  // of pictures; a remote aggregator has its own as well
};

// --ensemble, --aggregator, --coordinator, --max-picture-….
void AddTargetOptions(CLI::App& verb, PredictionTarget& target);

struct PredictionSession {
  std::unique_ptr<Embedded> embedded;  // unset with a remote aggregator
  std::unique_ptr<aggregator::AggregatorClient> client;
  v1::EnsembleVersion ensemble;
  std::vector<std::string> classes;
};

absl::StatusOr<PredictionSession> OpenPredictionSession(const PredictionTarget& target);

// "\r12 of 300 pictures" on a terminal, nothing when piped.
void ShowPictureProgress(int done, int total);

}  // namespace atelier::cli
