// atelier: every verb a person uses.
#include <exception>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "common/base/logging.h"
#include "common/nn/calm_openmp.h"
#include "common/rpc/tls.h"
#include "services/cli/command.h"
#include "services/cli/export/export_command.h"
#include "services/cli/weights/commands.h"

namespace {

constexpr char kOverview[] =
    "Trains an ensemble of image classifiers and serves its combined prediction.\n\n"
    "  atelier train --data paintings --out run1          # a few minutes to hours\n"
    "  atelier evaluate --ensemble run1 --data held-out\n"
    "  atelier predict photos --ensemble run1 --out submission.csv\n"
    "  atelier serve --ensemble run1                      # gRPC, Open Inference Protocol\n";

// CLI11 says of an unknown verb only that one is required.
std::string Explain(const CLI::App* app, const CLI::Error& error) {
  const std::vector<std::string> left = app->remaining(/*recurse=*/true);
  const std::string text = CLI::FailureMessage::simple(app, error);
  const bool lacks = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  return lacks && !left.empty() ? "Not understood: " + left.front() + "\n" + text : text;
}

}  // namespace

int main(int argc, char** argv) {
  atelier::nn::EnsureCalmOpenMp(argv);
  atelier::SetLogName("atelier");
  // The verbs say what a person needs; ATELIER_LOG_LEVEL=info shows the embedded services' lines.
  atelier::SetLogLevel(atelier::LogLevel::kWarning);
  atelier::cli::Interrupt interrupt;  // first: Ctrl-C has its meaning from the start
  atelier::cli::Context context{interrupt};
  CLI::App app(kOverview, "atelier");
  app.footer("atelier VERB --help explains a verb with examples.");
  app.require_subcommand(1);
  app.failure_message(Explain);
  app.get_formatter()->column_width(34);
  atelier::cli::AddTrainCommand(app, context);
  atelier::cli::AddEvaluateCommand(app, context);
  atelier::cli::AddPredictCommand(app, context);
  atelier::cli::AddServeCommand(app, context);
  atelier::cli::AddWeightsCommands(app, &context.exit_code);
  atelier::cli::AddWeightsExport(app, context);
  atelier::cli::AddModelCommands(app, context);
  atelier::cli::AddDataCommands(app, context);
  atelier::cli::AddRunsCommands(app, context);
  atelier::cli::AddEnsemblesCommands(app, context);
  atelier::cli::AddHealthCommand(app, context);
  atelier::cli::AddVersionCommand(app, context);
  // Before any verb: what is dialled without an identity that there should be would only say
  // "unavailable".
  app.parse_complete_callback([] {
    const absl::Status tls = atelier::rpc::TlsIdentityFromEnvironment().status();
    if (!tls.ok()) throw CLI::ValidationError(std::string(tls.message()));
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? atelier::cli::kDone : atelier::cli::kWrongUsage;
  } catch (const std::exception& e) {
    // A file system that vanished, memory that ran out: said, not aborted.
    return atelier::cli::Fail(absl::InternalError(e.what()));
  }
  return context.exit_code;
}
