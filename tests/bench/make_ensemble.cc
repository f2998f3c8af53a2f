// bench_make_ensemble RUN SIZE: a run directory with Xception and EfficientNet-Lite0, weights drawn
// from a seed, as `atelier serve` takes it.
#include <cstdio>
#include <cstdlib>

#include "common/base/status.h"
#include "tests/integration/aggregator/seeded_members.h"

namespace atelier::aggregator {
namespace {

absl::Status Make(const std::filesystem::path& run, int size) {
  std::vector<SeededMember> members;
  for (const char* backbone : {"xception", "efficientnet_lite0"}) {
    ATELIER_ASSIGN_OR_RETURN(members.emplace_back(),
                             MakeSeededMember(backbone, backbone, size, members.size()));
  }
  return WriteRunDirectory(run, MakeSeededVersion("bench", members), members);
}

}  // namespace
}  // namespace atelier::aggregator

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = atelier::aggregator::Make(argv[1], std::atoi(argv[2]));
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
