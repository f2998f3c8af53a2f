// Gathers what the report shows.
#pragma once

#include "services/cli/report/report.h"
#include "services/coordinator/client.h"

namespace atelier::cli {

struct RunPredictions;

// Asks the coordinator for previews and the manifest; what fails becomes a note.
ReportData GatherReport(const v1::Run& run, const RunPredictions& predictions,
                        coordinator::RunClient& runs);

}  // namespace atelier::cli
