// CutMix: a box of another picture pasted into this one, labels mixed by area (Yun et al. 2019).
//
//   NOTEBOOK  r ~ Beta(1,1) clipped to [0.2, 0.8]; a square of side int((S-1)*r), S the shorter
//             side, wholly inside, at a uniform place; weight of the partner r^2.
//   TIMM      lambda ~ Beta(alpha, alpha); a box of int(H*sqrt(1-lambda)) x int(W*sqrt(1-lambda))
//             about a uniform centre, clipped at the border; weight = area of the clipped box.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "atelier/v1/data_plan.pb.h"
#include "common/base/philox.h"
#include "common/vision/affine.h"

namespace atelier::vision {

struct CutMixDraw {
  bool apply = false;         // false: the picture and its label stay as they are
  Box box;                    // what is taken from the partner, same place in both pictures
  double partner_weight = 0;  // label = (1 - w) * own + w * partner's
};

// InvalidArgument: alpha outside 0..100, probability outside 0..1, negative off_after_epoch,
// unknown variant.
absl::Status ValidateCutMix(const v1::CutMixSpec& spec);

// Variant set and, if off_after_epoch > 0, epoch < off_after_epoch.
bool CutMixActive(const v1::CutMixSpec& spec, uint32_t epoch);

// Pure function of its arguments; `sample` is the main stream's. apply is false when inactive.
CutMixDraw DrawCutMix(const v1::CutMixSpec& spec, int height, int width, uint64_t seed,
                      uint32_t epoch, uint32_t sample);

CutMixDraw NotebookBox(double r, int height, int width, CounterRng* rng);
CutMixDraw TimmBox(double lambda, int height, int width, CounterRng* rng);

// Beta(alpha, alpha), alpha > 0 (uniform for 1).
double SymmetricBeta(double alpha, CounterRng* rng);

// own = (1 - weight) * own + weight * one-hot(partner_class).
void MixLabel(double weight, int partner_class, std::span<float> own);

}  // namespace atelier::vision
