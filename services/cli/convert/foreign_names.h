// What other libraries call a backbone's tensors: needed only for safetensors, which keep no order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace atelier::convert {

// Names to look for, best first, for variable "LAYER/VARIABLE" of `backbone`: Atelier's own, timm's
// and torch-hub's. Prefixes such as "module." are the caller's business.
std::vector<std::string> ForeignNames(std::string_view backbone, const std::string& layer,
                                      const std::string& variable);

// torch-hub's layer of EfficientNet-Lite for timm's ("blocks.1.0.conv_pwl" ->
// "_blocks.1._project_conv"); empty when there is none. torch-hub counts blocks through: `repeats`
// of the stages before are added up.
std::string HubLiteLayer(std::string_view backbone, const std::string& timm_layer);

}  // namespace atelier::convert
