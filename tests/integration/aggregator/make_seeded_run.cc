// make_seeded_run DIR: a run directory with three tiny_cnn members (DIR/run) and eight pictures
// (DIR/pictures), for tests that speak to the binaries.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "tests/integration/aggregator/seeded_members.h"

namespace atelier::aggregator {
namespace {

constexpr int kPictures = 8;

absl::Status Make(const std::filesystem::path& dir) {
  std::vector<SeededMember> members;
  for (const auto& [name, size] : {std::pair{"first", 32}, {"second", 32}, {"third", 48}}) {
    ATELIER_ASSIGN_OR_RETURN(members.emplace_back(),
                             MakeSeededMember(name, "tiny_cnn", size, members.size()));
  }
  ATELIER_RETURN_IF_ERROR(
      WriteRunDirectory(dir / "run", MakeSeededVersion("seeded", members), members));
  ATELIER_RETURN_IF_ERROR(MakeDirectories(dir / "pictures"));
  for (int i = 0; i < kPictures; ++i) {
    ATELIER_RETURN_IF_ERROR(
        WriteFileAtomically(dir / "pictures" / absl::StrCat("picture", i, ".png"), MakePicture(i)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace atelier::aggregator

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status status = atelier::aggregator::Make(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
