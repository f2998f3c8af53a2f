// From a submitted run to a finished run directory: watch, stop on Ctrl-C, fetch.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/concurrency/mutex.h"
#include "services/cli/command.h"
#include "services/cli/embedded.h"
#include "services/cli/run_directory.h"
#include "services/coordinator/client.h"

namespace atelier::cli {

// The coordinator a verb talks to: the embedded one of a run directory, or one over TCP.
class TrainingSession {
 public:
  // Embedded: starts data-service, coordinator and trainer. `lock`: the directory's, kept by the
  // session. `limits` are the pictures'.
  static absl::StatusOr<std::unique_ptr<TrainingSession>> OpenEmbedded(
      const RunDirectory& directory, std::unique_ptr<DirectoryLock> lock,
      const std::filesystem::path& data, const vision::DecodeLimits& limits);
  // `directory` may be unset: then nothing is fetched.
  static std::unique_ptr<TrainingSession> OpenRemote(const std::string& coordinator,
                                                     std::optional<RunDirectory> directory);

  // Call before a submission: see await_data_service.h.
  absl::Status AwaitDataService();
  coordinator::RunClient& runs() { return *runs_; }
  coordinator::RegistryClient& registry() { return *registry_; }

  // Shows the run's progress until it ends and fetches it. Returns the exit code: kDone, kFailed,
  // or kInterrupted after Ctrl-C - embedded with the last checkpoint kept, remote with the run
  // going on - and says how to continue. With `json` one document on standard output at the end.
  int Follow(const std::string& run_id, Context& context, bool json, bool from_start = false);

 private:
  TrainingSession() = default;
  absl::Status Watch(const v1::Run& run, int64_t after_event, Context& context);
  void SetInterrupt(const std::string& run_id, Context& context);
  int Ended(const std::string& run_id, bool json);
  int Finish(v1::Run run, bool json);
  absl::StatusOr<bool> IsPromoted(const v1::EnsembleVersion& ensemble);
  // Brings the embedded run's directory up to date. From the watch and from Ctrl-C's thread.
  void KeepRun(const std::string& run_id) ABSL_LOCKS_EXCLUDED(keeping_);

  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<Embedded> embedded_;
  std::string coordinator_;
  std::shared_ptr<grpc::Channel> channel_;  // to it
  std::optional<RunDirectory> directory_;
  std::unique_ptr<coordinator::RunClient> runs_;
  std::unique_ptr<coordinator::RegistryClient> registry_;
  Mutex keeping_;  // read and write are one: an older run does not overwrite a newer one
};

// The finished run for a person: accuracy of ensemble and members with their intervals, and what
// was resumed inexactly.
std::string SummaryText(const v1::Run& run);

}  // namespace atelier::cli
