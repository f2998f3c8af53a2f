#include <gmock/gmock.h>

#include <utility>

#include "services/aggregator/version_source.h"
#include "tests/testing/unimplemented_registry.h"
#include "tests/unit/aggregator/fakes.h"

namespace atelier::aggregator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Lists what it is told to; knows nothing else.
class ListingRegistry final : public testing::UnimplementedRegistry {
 public:
  explicit ListingRegistry(v1::ListEnsemblesResponse list) : list_(std::move(list)) {}

  absl::StatusOr<v1::ListEnsemblesResponse> ListEnsembles(const std::string&) override {
    return list_;
  }

 private:
  const v1::ListEnsemblesResponse list_;
};

std::vector<int> OlderThan(int version, int pinned) {
  v1::ListEnsemblesResponse list;
  for (const auto& [number, promoted_once] :
       {std::pair(5, true), std::pair(4, true), std::pair(3, false), std::pair(2, true),
        std::pair(1, true)}) {
    v1::ListedEnsemble& listed = *list.add_ensembles();
    *listed.mutable_ensemble() = MakeVersion({"a"}, number);
    listed.set_promoted_once(promoted_once);
  }
  const auto source =
      MakeRegistrySource(std::make_shared<ListingRegistry>(std::move(list)), "paintings", pinned);
  std::vector<int> numbers;
  for (const auto& older : source->Older(MakeVersion({"a"}, version))) {
    numbers.push_back(older.version());
  }
  return numbers;
}

TEST(RegistrySource, FallsBackToNothingThatWasHeldBack) {
  EXPECT_THAT(OlderThan(4, /*pinned=*/0), ElementsAre(2, 1));
}

TEST(RegistrySource, APinnedVersionHasNoOther) {
  EXPECT_THAT(OlderThan(4, /*pinned=*/4), IsEmpty());
}

}  // namespace
}  // namespace atelier::aggregator
