#include "services/aggregator/trainer_choice.h"

#include <algorithm>
#include <tuple>

#include "common/base/sha256.h"

namespace atelier::aggregator {
namespace {

bool Holds(const v1::FleetTrainer& trainer, const std::string& backbone) {
  return trainer.backbones().empty() ||
         std::find(trainer.backbones().begin(), trainer.backbones().end(), backbone) !=
             trainer.backbones().end();
}

}  // namespace

std::vector<std::string> ChooseTrainers(const v1::ListFleetResponse& fleet,
                                        const std::string& backbone,
                                        const std::string& weights_digest,
                                        const std::set<std::string>& suspects) {
  std::vector<std::tuple<bool, bool, std::string, std::string>> ranked;
  for (const v1::FleetTrainer& trainer : fleet.trainers()) {
    if (trainer.draining() || trainer.predict_address().empty() || !Holds(trainer, backbone)) {
      continue;
    }
    ranked.emplace_back(suspects.count(trainer.predict_address()) > 0, trainer.has_current(),
                        Sha256Hex(weights_digest + "/" + trainer.trainer_id()),
                        trainer.predict_address());
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> addresses;
  for (auto& [suspect, busy, hash, address] : ranked) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
      addresses.push_back(std::move(address));
    }
  }
  return addresses;
}

}  // namespace atelier::aggregator
