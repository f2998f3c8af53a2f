// Keras' initialisers, drawn from a counter-based stream: nothing global. No torch here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/nn/graph.h"

namespace atelier::nn {

// Fills `values` for a variable of `keras_shape` ([kh, kw, in, out], dense [in, out]). Fans as
// keras.initializers.compute_fans; normal ones are truncated at two standard deviations, as Keras'.
// The stream is CounterRng(seed, 0, index, kInitialise). Values are independent and identically
// distributed, so they are put down in the memory's order, whatever its layout.
void FillInitial(Initializer initializer, const std::vector<int64_t>& keras_shape, uint64_t seed,
                 uint32_t index, std::span<float> values);

}  // namespace atelier::nn
