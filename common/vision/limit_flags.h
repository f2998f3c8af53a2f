// DecodeLimits as flags, alike in name and meaning wherever pictures come in. For files that parse
// command lines only: CLI11 is no dependency of this folder.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

#include "common/vision/decode.h"

namespace atelier::vision {

// The defaults are those of `limits` when this is called; `limits` outlives the parsing.
inline void AddPictureLimitFlags(CLI::App& app, DecodeLimits& limits) {
  app.add_option("--max-picture-bytes", limits.max_bytes, "Largest encoded picture taken")
      ->envname("ATELIER_MAX_PICTURE_BYTES")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--max-picture-pixels", limits.max_pixels, "Most pixels of a picture")
      ->envname("ATELIER_MAX_PICTURE_PIXELS")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--max-picture-side", limits.max_side, "Longest side of a picture in pixels")
      ->envname("ATELIER_MAX_PICTURE_SIDE")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--max-picture-aspect", limits.max_aspect, "Greatest longer to shorter side")
      ->envname("ATELIER_MAX_PICTURE_ASPECT")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
}

}  // namespace atelier::vision
