// A registry of which a test writes only what it needs.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "services/coordinator/client.h"

namespace atelier::testing {

// Every call is UNIMPLEMENTED; nothing is watched.
class UnimplementedRegistry : public coordinator::RegistryClient {
 public:
  absl::StatusOr<std::string> PutBytes(std::string_view) override { return NotExpected(); }
  absl::StatusOr<std::string> PutFile(const std::filesystem::path&) override {
    return NotExpected();
  }
  absl::StatusOr<std::string> GetBytes(const std::string&) override { return NotExpected(); }
  absl::Status GetFile(const std::string&, const std::filesystem::path&) override {
    return NotExpected();
  }
  absl::StatusOr<bool> Exists(const std::string&) override { return NotExpected(); }
  absl::StatusOr<v1::EnsembleVersion> Publish(const v1::EnsembleVersion&, bool) override {
    return NotExpected();
  }
  absl::StatusOr<v1::PromotedEnsemble> Promote(const std::string&, int) override {
    return NotExpected();
  }
  absl::StatusOr<v1::EnsembleVersion> GetEnsemble(const std::string&, int) override {
    return NotExpected();
  }
  absl::StatusOr<v1::ListEnsemblesResponse> ListEnsembles(const std::string&) override {
    return NotExpected();
  }
  std::unique_ptr<PromotedWatch> WatchPromoted(
      const std::string&, std::function<void(const v1::PromotedEnsemble&)>) override {
    return nullptr;
  }

 private:
  static absl::Status NotExpected() {
    return absl::UnimplementedError("a call to the registry that the test does not expect");
  }
};

}  // namespace atelier::testing
