#include "services/cli/prediction_session.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/vision/limit_flags.h"
#include "services/cli/ensemble_source.h"
#include "services/cli/progress_view.h"

namespace atelier::cli {

void AddTargetOptions(CLI::App& verb, PredictionTarget& target) {
  verb.add_option("--ensemble", target.ensemble,
                  "Run directory, NAME (its promoted version) or NAME@VERSION; "
                  "left out: the only ensemble there is")
      ->type_name("RUN|NAME@VERSION");
  verb.add_option(
          "--aggregator", target.aggregator,
          "Ask a running aggregator (atelier serve, atelier-aggregator) instead; https:// is TLS")
      ->type_name("HOST:PORT");
  verb.add_option("--coordinator", target.coordinator,
                  "Take the ensemble and its weights from this coordinator's registry")
      ->type_name("HOST:PORT");
  vision::AddPictureLimitFlags(verb, target.limits);
}

absl::StatusOr<PredictionSession> OpenPredictionSession(const PredictionTarget& target) {
  PredictionSession session;
  if (!target.aggregator.empty()) {
    session.client = aggregator::AggregatorClient::Create(
        rpc::MakeTcpChannelFactory()->Connect(target.aggregator));
    const absl::StatusOr<v1::ServedEnsemble> served = session.client->GetServed();
    if (!served.ok()) return Annotate(served.status(), "aggregator " + target.aggregator);
    if (!served->has_ensemble()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the aggregator at ", target.aggregator,
                       " serves nothing yet: promote a version with atelier ensembles promote"));
    }
    session.ensemble = served->ensemble();
  } else {
    ATELIER_ASSIGN_OR_RETURN(ServableEnsemble found,
                             ResolveEnsemble(target.ensemble, target.coordinator));
    session.ensemble = found.version;
    EmbeddedOptions options;
    options.serve = std::move(found);
    options.pictures = target.limits;
    ATELIER_ASSIGN_OR_RETURN(session.embedded, Embedded::Start(options));
    session.client = aggregator::AggregatorClient::Create(
        session.embedded->channels()->Connect(kEmbeddedAggregator));
  }
  session.classes.assign(session.ensemble.classes().begin(), session.ensemble.classes().end());
  return session;
}

void ShowPictureProgress(int done, int total) {
  if (!StandardErrorIsTerminal()) return;
  std::fprintf(stderr, "\r\x1b[2K%d of %d pictures%s", done, total, done == total ? "\n" : "");
}

}  // namespace atelier::cli
