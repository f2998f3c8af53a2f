#include "services/cli/export/keras_export.h"

#include <unistd.h>
#include <zip.h>

#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/cli/convert/permute.h"
#include "services/cli/export/hdf5_writer.h"
#include "services/cli/export/keras_config.h"
#include "services/cli/export/keras_layers.h"

namespace atelier::exporting {
namespace {

namespace fs = std::filesystem;

// Dimension i of Keras' tensor is dimension Permutation()[i] of LibTorch's.
std::vector<int> Permutation(nn::VariableKind kind) {
  if (kind == nn::VariableKind::kKernel) return {2, 3, 1, 0};
  if (kind == nn::VariableKind::kDepthwiseKernel) return {2, 3, 0, 1};
  return {};
}

absl::Status WriteVariable(Hdf5Writer& file, const std::string& path, const nn::Variable& variable,
                           const nn::TensorView& view) {
  if (variable.kind == nn::VariableKind::kCount) {  // Keras counts in integers
    float value = 0;
    std::memcpy(&value, view.bytes.data(), sizeof value);
    return file.Integer(path, std::llround(value));
  }
  const std::vector<int> permutation = Permutation(variable.kind);
  if (permutation.empty()) return file.Floats(path, view.shape, view.bytes);
  return file.Floats(path, nn::KerasShape(variable),
                     convert::PermuteFloat32(view.bytes, view.shape, permutation));
}

absl::Status WriteDense(Hdf5Writer& file, const std::string& group, const std::string& layer,
                        const WeightsFile& weights) {
  const nn::TensorView& kernel = weights.tensors.at(absl::StrCat("head/", layer, "/kernel"));
  const nn::TensorView& bias = weights.tensors.at(absl::StrCat("head/", layer, "/bias"));
  ATELIER_RETURN_IF_ERROR(file.Floats(group + "/vars/0", {kernel.shape[1], kernel.shape[0]},
                                      convert::PermuteFloat32(kernel.bytes, kernel.shape, {1, 0})));
  return file.Floats(group + "/vars/1", bias.shape, bias.bytes);
}

// `root`: the group of the backbone's layers.
absl::Status WriteLayers(Hdf5Writer& file, const std::string& root, const WeightsFile& weights) {
  std::map<std::string, int> counters;
  for (const KerasLayer& layer : KerasLayers(weights.graph)) {
    if (layer.variables.empty()) continue;
    const std::string name = SnakeCase(layer.keras_class);
    const int n = counters[name]++;
    const std::string group = absl::StrCat(root, "/", name, n == 0 ? "" : absl::StrCat("_", n));
    for (size_t i = 0; i < layer.variables.size(); ++i) {
      const nn::Variable& variable =
          weights.graph.variables[static_cast<size_t>(layer.variables[i])];
      ATELIER_RETURN_IF_ERROR(
          WriteVariable(file, absl::StrCat(group, "/vars/", i), variable, weights.Of(variable)));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteH5(const WeightsFile& weights, const fs::path& path, bool nested) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<Hdf5Writer> file, Hdf5Writer::Create(path));
  ATELIER_RETURN_IF_ERROR(
      WriteLayers(*file, nested ? "layers/functional/layers" : "layers", weights));
  std::string group = "layers/dense";
  if (weights.head.hidden_units > 0) {
    ATELIER_RETURN_IF_ERROR(WriteDense(*file, group, "dense", weights));
    group = "layers/dense_1";
  }
  if (weights.head.classes > 0) {
    ATELIER_RETURN_IF_ERROR(WriteDense(*file, group, "predictions", weights));
  }
  return file->Close();
}

// As Keras does: nothing is packed.
absl::Status WriteArchive(const fs::path& path, const std::string& config, const fs::path& h5) {
  int error = 0;
  zip_t* const zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
  const auto failed = [&] {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot write ", path.filename().string(), " (is the disk full?)"));
  };
  if (zip == nullptr) return failed();
  const std::string metadata = R"({"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"})";
  const auto add = [&](const char* name, zip_source_t* source) {
    const zip_int64_t i = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    return i >= 0 &&
           zip_set_file_compression(zip, static_cast<zip_uint64_t>(i), ZIP_CM_STORE, 0) == 0;
  };
  const auto text = [&](const std::string& bytes) {
    return zip_source_buffer(zip, bytes.data(), bytes.size(), 0);
  };
  const bool added = add("metadata.json", text(metadata)) && add("config.json", text(config)) &&
                     add("model.weights.h5", zip_source_file(zip, h5.c_str(), 0, -1));
  if (added && zip_close(zip) == 0) return absl::OkStatus();
  zip_discard(zip);
  return failed();
}

}  // namespace

absl::Status ExportKeras(const WeightsFile& weights, bool auto_scaling, const fs::path& output) {
  const std::string name = output.filename().string();
  const bool archive = name.ends_with(".keras");
  if (!archive && !name.ends_with(".weights.h5")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Keras goes by the file's ending: .weights.h5 (tensors) or .keras (whole model), not ",
        name));
  }
  const std::string temp = absl::StrCat(output.string(), ".", ::getpid(), ".tmp");
  const std::string packed = temp + ".zip";
  absl::Status status = WriteH5(weights, temp, weights.head.classes > 0 && !archive);
  if (status.ok() && archive)
    status = WriteArchive(packed, KerasConfig(weights, auto_scaling), temp);
  std::error_code error;
  if (status.ok()) {
    fs::rename(archive ? packed : temp, output, error);
    if (error) {
      status = absl::UnavailableError(absl::StrCat("cannot write ", name, ": ", error.message()));
    }
  }
  std::error_code ignored;
  fs::remove(temp, ignored);
  fs::remove(packed, ignored);
  return status;
}

}  // namespace atelier::exporting
