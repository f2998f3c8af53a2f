// PyTorch state dicts: the zip format (since 1.6) and the legacy stream of pickles.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "services/cli/convert/input_file.h"
#include "services/cli/convert/source.h"
#include "services/cli/convert/zip_archive.h"

namespace atelier::convert {

// True when the file begins like torch.save's legacy format.
bool LooksLikeLegacyTorch(std::string_view head);
absl::StatusOr<Source> ReadTorchLegacy(std::shared_ptr<InputFile> file);

// Index of ".../data.pkl" in the archive, -1 when it is no PyTorch file.
int FindTorchPickle(const ZipArchive& archive);
// InvalidArgument: TorchScript, big-endian, or anything the allow-list refuses.
absl::StatusOr<Source> ReadTorchZip(std::shared_ptr<ZipArchive> archive);

}  // namespace atelier::convert
