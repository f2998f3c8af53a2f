// JSON as the verbs print it.
#pragma once

#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "nlohmann/json.hpp"
#include "services/cli/weights/cache_files.h"

namespace atelier::cli {

inline std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// What the note beside a cached file says; null when there is none.
inline nlohmann::ordered_json ReadWeightsNote(const std::string& name) {
  const auto text = ReadFile(CacheFiles(WeightsCache(), name).note, 1 << 20);
  return text.ok() ? nlohmann::ordered_json::parse(*text, nullptr, false)
                   : nlohmann::ordered_json();
}

}  // namespace atelier::cli
