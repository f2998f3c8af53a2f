#include <google/protobuf/util/json_util.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifacts/artifact_store.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "services/aggregator/version_source.h"

namespace atelier::aggregator {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxEnsembleJson = 4 << 20;

absl::StatusOr<v1::EnsembleVersion> ReadEnsembleJson(const fs::path& run) {
  absl::StatusOr<std::string> json = ReadFile(run / "ensemble.json", kMaxEnsembleJson);
  if (absl::IsNotFound(json.status())) {
    return absl::NotFoundError(
        absl::StrCat("no ensemble.json in ", run.filename().string(),
                     ": expected a finished run's directory (atelier train --out RUN makes one)"));
  }
  ATELIER_RETURN_IF_ERROR(json.status());
  v1::EnsembleVersion ensemble;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // a newer build may have added some
  const auto parsed = google::protobuf::util::JsonStringToMessage(*json, &ensemble, options);
  if (!parsed.ok()) {
    return absl::DataLossError(
        absl::StrCat("ensemble.json cannot be read: ", std::string(parsed.message())));
  }
  return ensemble;
}

class RunDirectorySource final : public VersionSource {
 public:
  RunDirectorySource(fs::path run, v1::EnsembleVersion ensemble)
      : run_(std::move(run)), ensemble_(std::move(ensemble)) {}

  absl::Status Start(std::function<void(const v1::EnsembleVersion&)> on_version) override {
    on_version(ensemble_);
    return absl::OkStatus();
  }

  void Stop() override {}  // Start called it, and nobody will again

  absl::StatusOr<std::string> Weights(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(artifacts::CheckDigest(digest));
    for (const fs::path& path : Places(digest)) {
      std::error_code ignored;
      if (!fs::is_regular_file(path, ignored)) continue;
      ATELIER_ASSIGN_OR_RETURN(std::string bytes,
                               ReadFile(path, static_cast<uint64_t>(artifacts::kMaxArtifactBytes)));
      if (Sha256Hex(bytes) == digest) return bytes;
      return absl::DataLossError(absl::StrCat("the weights in ", path.filename().string(),
                                              " are not those of digest ", digest));
    }
    return absl::NotFoundError(
        absl::StrCat("no weights of digest ", digest, " in ", run_.filename().string()));
  }

  std::vector<v1::EnsembleVersion> Older(const v1::EnsembleVersion&) override { return {}; }

 private:
  std::vector<fs::path> Places(const std::string& digest) const {
    std::vector<fs::path> places = {run_ / "weights" / (digest + ".safetensors")};
    for (const v1::EnsembleMember& member : ensemble_.members()) {
      if (member.weights_digest() == digest && IsSafeName(member.name())) {
        places.push_back(run_ / "weights" / (member.name() + ".safetensors"));
      }
    }
    places.push_back(run_ / "artifacts" / digest.substr(0, 2) / digest);
    return places;
  }

  const fs::path run_;
  const v1::EnsembleVersion ensemble_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<VersionSource>> OpenRunDirectory(const fs::path& run, int version) {
  ATELIER_ASSIGN_OR_RETURN(v1::EnsembleVersion ensemble, ReadEnsembleJson(run));
  if (version > 0) ensemble.set_version(version);
  return std::make_unique<RunDirectorySource>(run, std::move(ensemble));
}

}  // namespace atelier::aggregator
