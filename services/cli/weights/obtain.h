// Gets one of an entry's files, verified: from mirrors, a package, or its URLs.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "services/cli/weights/catalogue.h"
#include "services/cli/weights/fetch_options.h"
#include "services/cli/weights/file_digest.h"

namespace atelier::cli {

struct ObtainedFile {
  std::filesystem::path path;  // in the work folder, or in a mirror's
  UpstreamFile upstream;
  std::string origin;  // where it came from, for a person: URL, folder or package
  FileDigests digests;
  std::string verified_by;  // CheckDigests' answer
};

// Checks a file that is at hand against the catalogue and its pin in `pins`.
absl::StatusOr<ObtainedFile> Verify(const UpstreamFile& upstream, const std::filesystem::path& path,
                                    const std::string& origin, const std::filesystem::path& pins);

// Mirrors are asked first, for each of the files, then the publishers in the catalogue's order;
// what fails is said and the next is tried. Partial downloads stay in `work` for the next time. A
// file whose digest differs is fetched once more from its beginning. FailedPrecondition: offline,
// with the commands that help; otherwise Unavailable (or the only failure's code) naming each place
// and what went wrong there.
absl::StatusOr<ObtainedFile> Obtain(const WeightsEntry& entry, const std::filesystem::path& work,
                                    const std::filesystem::path& pins, const FetchOptions& options);

}  // namespace atelier::cli
