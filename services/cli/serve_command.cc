// atelier serve: an ensemble behind the Open Inference Protocol on loopback.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/vision/limit_flags.h"
#include "services/cli/command.h"
#include "services/cli/embedded.h"
#include "services/cli/ensemble_source.h"

namespace atelier::cli {
namespace {

constexpr char kExamples[] =
    "  atelier serve --ensemble runs/paintings                 # 127.0.0.1:7080\n"
    "  atelier serve --ensemble paintings@2 --port 0           # a free port; the line names it\n"
    "  atelier predict photos --aggregator 127.0.0.1:7080      # ask it\n"
    "Any Triton or KServe gRPC client can ask it too: model \"ensemble\", input \"image\" (BYTES).";

constexpr std::chrono::seconds kGrace{10};

struct Options {
  std::string ensemble;
  std::string coordinator;
  int port = 7080;
  vision::DecodeLimits limits;
};

absl::Status Serve(const Options& options, Context& context) {
  ATELIER_ASSIGN_OR_RETURN(ServableEnsemble found,
                           ResolveEnsemble(options.ensemble, options.coordinator));
  const std::string version = absl::StrCat(found.version.name(), "@", found.version.version());
  EmbeddedOptions how;
  how.serve = std::move(found);
  how.pictures = options.limits;
  how.listen = absl::StrCat("127.0.0.1:", options.port);
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<Embedded> embedded, Embedded::Start(how));
  context.interrupt.SetAction([&] { embedded->Stop(kGrace); });
  std::printf("serving %s at 127.0.0.1:%d\n", version.c_str(), embedded->port());
  std::fflush(stdout);
  context.interrupt.Wait();
  Say("stopped");
  return absl::OkStatus();
}

}  // namespace

void AddServeCommand(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(
      app, "serve", "Serve an ensemble over gRPC (Open Inference Protocol) on loopback", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("--ensemble", options->ensemble,
                   "Run directory, NAME (its promoted version) or NAME@VERSION")
      ->type_name("RUN|NAME@VERSION");
  verb->add_option("--coordinator", options->coordinator,
                   "Take it from this coordinator's registry")
      ->type_name("HOST:PORT");
  verb->add_option("--port", options->port,
                   "gRPC port; 0: a free one; metrics over HTTP on it + 1000")
      ->check(CLI::Range(0, 64'535))
      ->capture_default_str();
  vision::AddPictureLimitFlags(*verb, options->limits);
  verb->callback([options, &context] { context.exit_code = ExitCode(Serve(*options, context)); });
}

}  // namespace atelier::cli
