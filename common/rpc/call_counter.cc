#include "common/rpc/call_counter.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/logging.h"

namespace atelier::rpc {
namespace {

constexpr char kFolder[] = "ATELIER_CALL_COUNTS";

void WriteCounts() {
  const char* folder = std::getenv(kFolder);
  if (folder == nullptr) return;
  const nlohmann::json counts = CallCounterFromEnvironment()->Snapshot();
  const std::filesystem::path path =
      std::filesystem::path(folder) / absl::StrCat(::getpid(), ".json");
  absl::Status written = MakeDirectories(folder);
  written.Update(WriteFileAtomically(path, counts.dump(2)));
  if (!written.ok()) {
    LogError("%s: %s", kFolder, std::string(written.message()));
  }
}

}  // namespace

void CallCounter::Count(const std::string& method) {
  MutexLock lock(mutex_);
  ++calls_[method];
}

std::map<std::string, int64_t> CallCounter::Snapshot() const {
  MutexLock lock(mutex_);
  return calls_;
}

std::shared_ptr<CallCounter> CallCounterFromEnvironment() {
  static auto* const counter =
      new std::shared_ptr<CallCounter>([]() -> std::shared_ptr<CallCounter> {
        const char* folder = std::getenv(kFolder);
        if (folder == nullptr || *folder == '\0') return nullptr;
        std::atexit(WriteCounts);
        return std::make_shared<CallCounter>();
      }());
  return *counter;
}

}  // namespace atelier::rpc
