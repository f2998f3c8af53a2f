#include "services/cli/convert/foreign_names.h"

#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace atelier::convert {
namespace {

struct LiteDepths {
  std::string_view backbone;
  std::array<int, 7> repeats;  // blocks of each stage
};
constexpr LiteDepths kLiteDepths[] = {
    {"efficientnet_lite0", {1, 2, 2, 3, 3, 4, 1}},
    {"efficientnet_lite1", {1, 3, 3, 4, 4, 5, 1}},
    {"efficientnet_lite2", {1, 3, 3, 4, 4, 5, 1}},
};

// PyTorch's name of a variable.
std::string_view TorchVariable(std::string_view variable) {
  if (variable == "kernel" || variable == "gamma") return "weight";
  if (variable == "bias" || variable == "beta") return "bias";
  if (variable == "moving_mean") return "running_mean";
  if (variable == "moving_variance") return "running_var";
  return "";
}

}  // namespace

std::string HubLiteLayer(std::string_view backbone, const std::string& timm_layer) {
  const LiteDepths* depths = nullptr;
  for (const LiteDepths& entry : kLiteDepths) {
    if (entry.backbone == backbone) depths = &entry;
  }
  if (depths == nullptr) return "";
  if (timm_layer == "conv_stem" || timm_layer == "conv_head") return "_" + timm_layer;
  if (timm_layer == "bn1") return "_bn0";
  if (timm_layer == "bn2") return "_bn1";
  const std::vector<std::string> parts = absl::StrSplit(timm_layer, '.');
  int stage = 0;
  int block = 0;
  if (parts.size() != 4 || parts[0] != "blocks" || !absl::SimpleAtoi(parts[1], &stage) ||
      !absl::SimpleAtoi(parts[2], &block) || stage < 0 || stage > 6) {
    return "";
  }
  for (int i = 0; i < stage; ++i) block += depths->repeats[static_cast<size_t>(i)];
  const bool expands = stage > 0;  // the first stage has no expansion
  std::string layer;
  if (parts[3] == "conv_dw") layer = "_depthwise_conv";
  if (parts[3] == "conv_pwl") layer = "_project_conv";
  if (parts[3] == "conv_pw") layer = expands ? "_expand_conv" : "_project_conv";
  // timm counts the norms of a block from 1; torch-hub's _bn0 belongs to the expansion.
  int bn = 0;
  if (parts[3].rfind("bn", 0) == 0 && absl::SimpleAtoi(parts[3].substr(2), &bn)) {
    layer = absl::StrCat("_bn", expands ? bn - 1 : bn);
  }
  return layer.empty() ? "" : absl::StrCat("_blocks.", block, ".", layer);
}

std::vector<std::string> ForeignNames(std::string_view backbone, const std::string& layer,
                                      const std::string& variable) {
  std::vector<std::string> names = {absl::StrCat("backbone/", layer, "/", variable),
                                    absl::StrCat(layer, "/", variable)};
  const std::string torch(TorchVariable(variable));
  if (torch.empty()) return names;
  names.push_back(absl::StrCat(layer, ".", torch));
  const std::string hub = HubLiteLayer(backbone, layer);
  if (!hub.empty()) names.push_back(absl::StrCat(hub, ".", torch));
  return names;
}

}  // namespace atelier::convert
