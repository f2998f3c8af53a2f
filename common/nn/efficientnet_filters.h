// The width rule that EfficientNets share.
#pragma once

#include <algorithm>

namespace atelier::nn {

// filters * width to the nearest multiple of 8, but never more than 10 % down.
inline int RoundFilters(int filters, double width) {
  const double wanted = filters * width;
  const int rounded = std::max(8, static_cast<int>(wanted + 4) / 8 * 8);
  return rounded < 0.9 * wanted ? rounded + 8 : rounded;
}

}  // namespace atelier::nn
