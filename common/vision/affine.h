// One affine warp, as Keras' apply_affine_transform: bilinear, pixels outside take the nearest
// edge.
//
// Output pixel (row, col) takes the input at M * (row, col, 1), in pixel-centre coordinates where
// pixel i is at i. M = T(c) * Rotation * Shift * Shear * Zoom * T(-c), the order and signs of
// Keras_Preprocessing 1.1.2 (TF 2.4) and Keras 3. The centre c is S/2 - 0.5 (Keras 3, the true
// middle of the pixel grid); TF 2.4 uses S/2 + 0.5, which moves the picture by up to a pixel.
#pragma once

#include <array>
#include <cstdint>

#include "common/vision/image.h"

namespace atelier::vision {

struct AffineParams {
  double theta_degrees = 0;  // rotation
  double shift_rows = 0;     // Keras' tx: pixels along the height
  double shift_cols = 0;     // Keras' ty: pixels along the width
  double shear_degrees = 0;
  double zoom_rows = 1;  // Keras' zx; > 1 shows more of the picture
  double zoom_cols = 1;  // Keras' zy
  bool IsIdentity() const;
};

inline constexpr double kCentreKeras3 = -0.5;

// input_row = m[0]*row + m[1]*col + m[2];  input_col = m[3]*row + m[4]*col + m[5].
using AffineMatrix = std::array<double, 6>;

inline constexpr AffineMatrix kIdentityMatrix = {1, 0, 0, 0, 1, 0};

AffineMatrix MakeAffineMatrix(const AffineParams& params, int height, int width,
                              double centre_offset = kCentreKeras3);

// The same warp followed by flips of the output (no second pass over the pixels is needed then).
AffineMatrix FlipOutput(const AffineMatrix& matrix, int height, int width, bool horizontal,
                        bool vertical);

// A part of the output: rows top..top+height-1, columns left..left+width-1.
struct Box {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
  bool operator==(const Box&) const = default;
};

// Writes the pixels `box` of the warped picture to `out`, whose pixel (0, 0) is the box's corner
// and whose rows are `out_stride` bytes apart. Values are rounded to nearest. Sub-pixel positions
// are multiples of 1/256, so a value may differ from exact interpolation by one level or two at
// hard edges. Pure; thread-safe; allocates nothing.
void WarpAffine(const Image& in, const AffineMatrix& matrix, const Box& box, uint8_t* out,
                int64_t out_stride);

Image WarpAffine(const Image& in, const AffineMatrix& matrix);

}  // namespace atelier::vision
