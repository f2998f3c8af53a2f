#include "services/cli/model/model_input.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/ensemble/npy.h"
#include "common/nn/safetensors.h"
#include "common/vision/decode.h"
#include "services/cli/convert/zip_archive.h"
#include "services/cli/outcome.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxArrayBytes = uint64_t{2} << 30;
constexpr std::string_view kNpyMagic = "\x93NUMPY";

absl::StatusOr<Pixels> FromNpy(std::string_view bytes) {
  ATELIER_ASSIGN_OR_RETURN(const ensemble::NpyArray array, ensemble::ParseNpy(bytes));
  std::vector<int64_t> shape = array.shape;
  if (shape.size() == 3) shape.insert(shape.begin(), 1);
  if (array.type != "|u1" || shape.size() != 4 || (shape[3] != 3 && shape[3] != 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected pixels, uint8 [n, height, width, 3 or 1], not ", array.type, " [",
                     absl::StrJoin(array.shape, ", "), "]"));
  }
  return Pixels{std::string(array.data), shape[0], shape[1], shape[2], static_cast<int>(shape[3])};
}

template <typename T>
std::vector<float> Floats(std::string_view data) {
  std::vector<float> out(data.size() / sizeof(T));
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
    out[i] = static_cast<float>(value);
  }
  return out;
}

}  // namespace

absl::StatusOr<Pixels> ReadPixels(const fs::path& path) {
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxArrayBytes));
  if (bytes.starts_with(kNpyMagic)) return FromNpy(bytes);
  const auto image = vision::DecodePicture(bytes, 3);
  if (!image.ok()) return Annotate(image.status(), path.filename().string());
  return Pixels{std::string(image->pixels.begin(), image->pixels.end()), 1, image->height,
                image->width, 3};
}

absl::StatusOr<std::unique_ptr<nn::Inspector>> OpenInspector(std::string backbone,
                                                             const fs::path& weights, int channels,
                                                             bool head) {
  fs::path path = weights;
  if (path.empty()) {
    if (backbone.empty())
      return WrongUsage(absl::InvalidArgumentError("say which --backbone, or --weights"));
    path = WeightsCache() / (backbone + ".safetensors");
    if (std::error_code error; !fs::exists(path, error)) {
      return absl::NotFoundError(absl::StrCat("no weights of ", backbone,
                                              " here: give a file with --weights, or run atelier "
                                              "weights fetch ",
                                              backbone));
    }
  }
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  if (backbone.empty()) {
    ATELIER_ASSIGN_OR_RETURN(const nn::Safetensors file, nn::ParseSafetensors(bytes));
    const auto named = file.metadata.find("backbone");
    if (named == file.metadata.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path.filename().string(), " does not name its backbone: say it with --backbone"));
    }
    backbone = named->second;
  }
  auto inspector =
      nn::Inspector::Create({.backbone = backbone, .channels = channels, .head = head}, bytes);
  // Anything but safetensors begins otherwise; the reader's own words would not help a person.
  if (!inspector.ok() && (bytes.size() < 9 || bytes[8] != '{')) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.filename().string(),
                     " is no safetensors file; first run atelier weights "
                     "convert ",
                     path.string(), " --output W.safetensors"));
  }
  return inspector;
}

absl::StatusOr<nn::FloatArray> ReadNpz(const fs::path& path, const std::string& name) {
  ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<convert::InputFile> file,
                           convert::InputFile::Open(path));
  ATELIER_ASSIGN_OR_RETURN(const auto archive, convert::ZipArchive::Open(file));
  const int index = archive->Find(name + ".npy");
  if (index < 0) {
    return absl::NotFoundError(absl::StrCat(file->name(), " has no array \"", name, "\""));
  }
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, archive->Read(index, kMaxArrayBytes));
  ATELIER_ASSIGN_OR_RETURN(const ensemble::NpyArray array, ensemble::ParseNpy(bytes));
  if (array.type == "<f4") return nn::FloatArray{array.shape, Floats<float>(array.data)};
  if (array.type == "<f8") return nn::FloatArray{array.shape, Floats<double>(array.data)};
  return absl::InvalidArgumentError(
      absl::StrCat("array \"", name, "\" is ", array.type, ", not float32 or float64"));
}

}  // namespace atelier::cli
