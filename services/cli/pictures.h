// From what a person names on the command line to pictures and their predictions.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ensemble/combine.h"
#include "common/vision/decode.h"
#include "services/aggregator/client.h"

namespace atelier::cli {

struct PictureFile {
  std::string name;  // relative to the folder asked for; of a single file as given
  std::filesystem::path path;
};

// Every picture file (by its ending; .gif and .tif too, which then fail to decode by name) in the
// folders, hidden files left out, and every file named itself; sorted bytewise by name.
// InvalidArgument when links lead to one folder twice; NotFound when a path is not there
// (WrongUsage) or nothing is found.
absl::StatusOr<std::vector<PictureFile>> ListPictures(const std::vector<std::string>& paths);

// The folder that the user named, without links. WrongUsage when it is none.
absl::StatusOr<std::filesystem::path> ExistingFolder(const std::string& named);

struct PredictOptions {
  bool want_members = false;
  bool skip_bad = false;
  vision::DecodeLimits limits;  // the aggregator's: they say which picture it refused
  std::function<void(int done, int total)> on_progress;  // may be empty
};

struct BadPicture {
  std::string name;
  std::string reason;
};

struct Predictions {
  std::vector<std::string> names;  // of the rows
  std::vector<size_t> indexes;     // of the rows in the list asked for
  ensemble::Probabilities combined;
  std::map<std::string, ensemble::Probabilities> members;
  std::vector<BadPicture> bad;  // left out, sorted by name
  bool degraded = false;
  std::vector<std::string> members_failed;
  std::string ensemble_version;
};

// Rows in the order of `pictures`. InvalidArgument naming every undecodable picture of the first
// bad batch unless skip_bad.
absl::StatusOr<Predictions> PredictPictures(aggregator::AggregatorClient& aggregator,
                                            const std::vector<PictureFile>& pictures,
                                            const PredictOptions& options);

}  // namespace atelier::cli
