#include "services/cli/convert/converter.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/nn/safetensors.h"
#include "services/cli/convert/keras_source.h"
#include "services/cli/convert/permute.h"
#include "services/cli/convert/safetensors_source.h"
#include "services/cli/convert/torch_source.h"
#include "services/cli/convert/zip_archive.h"

namespace atelier::convert {
namespace {

constexpr std::string_view kHdf5Magic("\x89HDF\r\n\x1a\n", 8);
constexpr std::string_view kZipMagic("PK\x03\x04", 4);
constexpr std::string_view kSupported =
    "Keras .h5, .weights.h5 and .keras, PyTorch state dicts (.pth, .pt, .bin) and .safetensors";

// HDF5 allows a user block of 512, 1024, 2048, … bytes before its signature.
bool LooksLikeHdf5(std::string_view bytes) {
  if (absl::StartsWith(std::string(bytes.substr(0, 8)), std::string(kHdf5Magic))) return true;
  for (size_t at = 512; at + 8 <= bytes.size() && at <= 8192; at *= 2) {
    if (bytes.substr(at, 8) == kHdf5Magic) return true;
  }
  return false;
}

bool LooksLikeWeights(const std::string& name) {
  for (const char* end : {".h5", ".hdf5", ".keras", ".pth", ".pt", ".bin", ".safetensors"}) {
    if (absl::EndsWith(name, end)) return true;
  }
  return false;
}

std::string Candidates(const ZipArchive& archive) {
  std::string names;
  int listed = 0;
  for (const ZipArchive::Member& member : archive.members()) {
    if (!LooksLikeWeights(member.name) || listed == 10) continue;
    absl::StrAppend(&names, listed++ == 0 ? "" : ", ", member.name);
  }
  return names.empty() ? "none that looks like weights" : names;
}

absl::StatusOr<Source> ReadZip(const std::shared_ptr<InputFile>& file) {
  ATELIER_ASSIGN_OR_RETURN(std::unique_ptr<ZipArchive> opened, ZipArchive::Open(file));
  const std::shared_ptr<ZipArchive> archive = std::move(opened);
  const int keras = archive->Find("model.weights.h5");
  if (keras >= 0) {
    ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<InputFile> weights, archive->Extract(keras));
    ATELIER_ASSIGN_OR_RETURN(Source source, ReadKerasHdf5(weights));
    source.format = "Keras 3 archive (.keras)";
    return source;
  }
  if (FindTorchPickle(*archive) >= 0) return ReadTorchZip(archive);
  return absl::InvalidArgumentError(
      absl::StrCat(file->name(),
                   " is a zip without model.weights.h5 or data.pkl; if it is a "
                   "package, choose a member with --member: ",
                   Candidates(*archive)));
}

struct Written {
  std::string sha256;
  uint64_t bytes = 0;
  int64_t parameters = 0;
};

// float32 in the target's layout.
absl::StatusOr<TensorBytes> ReadMapped(const MappedTensor& tensor) {
  auto bytes = tensor.source.read();
  if (!bytes.ok()) {
    return Annotate(bytes.status(), absl::StrCat("tensor \"", tensor.source.name, "\""));
  }
  if (!tensor.permutation.empty()) {
    bytes->owned = PermuteFloat32(bytes->bytes(), tensor.source.shape, tensor.permutation);
  }
  const nn::TensorView view{nn::DType::kF32, tensor.target_shape, bytes->bytes()};
  if (nn::HasNonFinite(view)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", tensor.source.name, "\" contains NaN or infinity"));
  }
  return bytes;
}

// One tensor in memory at a time.
absl::StatusOr<Written> WriteTensors(const Mapping& mapping, const InputFile& input,
                                     const std::string& sha256,
                                     const std::filesystem::path& output) {
  std::map<std::string, const MappedTensor*> in_order;
  std::map<std::string, nn::TensorLayout> layouts;
  for (const MappedTensor& tensor : mapping.tensors) {
    in_order[tensor.target] = &tensor;
    layouts[tensor.target] = {nn::DType::kF32, tensor.target_shape};
  }
  ATELIER_ASSIGN_OR_RETURN(const auto file, AtomicFileWriter::Create(output));
  Sha256 digest;
  Written written;
  const auto append = [&](std::string_view bytes) {
    digest.Update(bytes);
    written.bytes += bytes.size();
    return file->Append(bytes);
  };
  ATELIER_RETURN_IF_ERROR(append(nn::SafetensorsHeader(layouts, {{"format", "atelier-weights-1"},
                                                                 {"backbone", mapping.backbone},
                                                                 {"source", input.name()},
                                                                 {"source_sha256", sha256}})));
  for (const auto& [target, tensor] : in_order) {
    ATELIER_ASSIGN_OR_RETURN(const TensorBytes bytes, ReadMapped(*tensor));
    written.parameters += static_cast<int64_t>(bytes.bytes().size() / sizeof(float));
    ATELIER_RETURN_IF_ERROR(append(bytes.bytes()));
  }
  ATELIER_RETURN_IF_ERROR(file->Commit());
  written.sha256 = digest.FinishHex();
  return written;
}

}  // namespace

absl::StatusOr<std::shared_ptr<InputFile>> OpenInput(const std::filesystem::path& path,
                                                     const std::string& member) {
  ATELIER_ASSIGN_OR_RETURN(std::shared_ptr<InputFile> file, InputFile::Open(path));
  if (member.empty()) return file;
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<ZipArchive> archive, ZipArchive::Open(file));
  const int index = archive->Find(member);
  if (index < 0) {
    return absl::NotFoundError(absl::StrCat(file->name(), " has no member \"", member,
                                            "\"; it has: ", Candidates(*archive)));
  }
  return archive->Extract(index);
}

absl::StatusOr<Source> ReadSource(const std::shared_ptr<InputFile>& file) {
  ATELIER_ASSIGN_OR_RETURN(const std::string_view bytes, file->Map());
  if (LooksLikeHdf5(bytes)) return ReadKerasHdf5(file);
  if (bytes.substr(0, 4) == kZipMagic) return ReadZip(file);
  if (LooksLikeLegacyTorch(bytes)) return ReadTorchLegacy(file);
  // u64 length of the header, then JSON.
  if (bytes.size() > 8 && bytes[8] == '{') return ReadSafetensors(file);
  return absl::InvalidArgumentError(
      absl::StrCat(file->name(), " (", bytes.size(),
                   " bytes) is in no format that is read: ", std::string(kSupported)));
}

absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<InputFile> file,
                           OpenInput(options.path, options.member));
  ATELIER_ASSIGN_OR_RETURN(const Source source, ReadSource(file));
  ConvertReport report;
  if (options.backbone.empty()) {
    ATELIER_ASSIGN_OR_RETURN(report.mapping, GuessAndMap(source, options.head));
  } else {
    ATELIER_ASSIGN_OR_RETURN(const nn::Graph graph, nn::BuildBackboneGraph(options.backbone));
    ATELIER_ASSIGN_OR_RETURN(report.mapping,
                             MapOnto(source, options.backbone, graph, options.head));
  }
  report.format = source.format;
  report.source_name = file->name();
  report.source_bytes = file->size();
  ATELIER_ASSIGN_OR_RETURN(report.source_sha256, file->Sha256());
  ATELIER_ASSIGN_OR_RETURN(
      const Written written,
      WriteTensors(report.mapping, *file, report.source_sha256, options.output));
  report.output_sha256 = written.sha256;
  report.output_bytes = written.bytes;
  report.parameters = written.parameters;
  return report;
}

}  // namespace atelier::convert
