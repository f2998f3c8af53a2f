// TARGET FILE_OR_FOLDER…: one input after the other through the fuzz target, without libFuzzer.
// Folders that are not there are fine (nothing was found yet); no input at all is not.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/check.h"

namespace {

std::vector<std::filesystem::path> Inputs(const std::filesystem::path& where) {
  namespace fs = std::filesystem;
  std::vector<fs::path> inputs;
  if (fs::is_regular_file(where)) inputs.push_back(where);
  if (fs::is_directory(where)) {
    for (const auto& entry : fs::recursive_directory_iterator(where)) {
      if (entry.is_regular_file()) inputs.push_back(entry.path());
    }
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

// As -rss_limit_mb of run.sh does: an input that claims gigabytes must not get them. Sanitizers
// need more address space than that for themselves.
void LimitMemory() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  constexpr rlim_t kBytes = rlim_t{3000} << 20;
  const rlimit limit = {.rlim_cur = kBytes, .rlim_max = kBytes};
  setrlimit(RLIMIT_AS, &limit);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  LimitMemory();
  int replayed = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& path : Inputs(argv[i])) {
      std::fprintf(stderr, "%s\n", path.c_str());  // the last line names the input that failed
      std::ifstream file(path, std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++replayed;
    }
  }
  std::fprintf(stderr, "%d inputs replayed\n", replayed);
  return replayed == 0 ? 1 : 0;
}
