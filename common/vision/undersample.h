// Random undersampling without replacement: counts as imblearn's RandomUnderSampler.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace atelier::vision {

// `classes[i]` is the class of item i, >= 0. Returns the kept items, ascending: of every class that
// occurs as many as the smallest one has. Pure function of its arguments.
std::vector<uint32_t> Undersample(std::span<const int32_t> classes, uint64_t seed);

}  // namespace atelier::vision
