#include "common/vision/affine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace atelier::vision {
namespace {

using Matrix3 = std::array<double, 9>;

Matrix3 Multiply(const Matrix3& a, const Matrix3& b) {
  Matrix3 out{};
  for (size_t row = 0; row < 3; ++row) {
    for (size_t col = 0; col < 3; ++col) {
      for (size_t k = 0; k < 3; ++k) out[row * 3 + col] += a[row * 3 + k] * b[k * 3 + col];
    }
  }
  return out;
}

double Radians(double degrees) { return degrees * std::numbers::pi / 180.0; }

// Source positions are 32.32 fixed point; the upper 8 bits of the fraction are the weight.
constexpr int kPositionBits = 32;
constexpr int64_t kOne = int64_t{1} << kPositionBits;
constexpr int kWeightShift = kPositionBits - 8;

int64_t ToFixed(double value) { return std::llround(value * static_cast<double>(kOne)); }
int Weight(int64_t position) { return static_cast<int>((position >> kWeightShift) & 0xff); }

int64_t FloorDivide(int64_t a, int64_t b) {  // b > 0
  const int64_t quotient = a / b;
  return a % b < 0 ? quotient - 1 : quotient;
}

struct Interval {
  int64_t begin;
  int64_t end;
};

// The i in [0, n) with 0 <= base + i * step < limit.
Interval Inside(int64_t base, int64_t step, int64_t limit, int64_t n) {
  if (limit <= 0) return {0, 0};
  int64_t begin = 0;
  int64_t end = n;
  if (step == 0) {
    if (base < 0 || base >= limit) end = 0;
  } else if (step > 0) {
    begin = -FloorDivide(base, step);
    end = -FloorDivide(base - limit, step);
  } else {
    begin = FloorDivide(base - limit, -step) + 1;
    end = FloorDivide(base, -step) + 1;
  }
  begin = std::clamp<int64_t>(begin, 0, n);
  return {begin, std::clamp<int64_t>(end, begin, n)};
}

struct Source {
  const uint8_t* pixels;
  int64_t stride;
  int height;
  int width;
};

// Positions of one output row: of pixel i they are y + i * dy, x + i * dx.
struct RowWalk {
  int64_t y;
  int64_t dy;
  int64_t x;
  int64_t dx;
};

// All paths compute the same integers, so a picture's bytes do not depend on the machine.
inline uint8_t Blend(int p00, int p01, int p10, int p11, int wy, int wx) {
  const int left = p00 * 256 + (p10 - p00) * wy;
  const int right = p01 * 256 + (p11 - p01) * wy;
  return static_cast<uint8_t>((left * (256 - wx) + right * wx + 32768) >> 16);
}

template <int kChannels>
void WarpClampedScalar(const Source& source, const RowWalk& walk, int64_t begin, int64_t end,
                       uint8_t* out) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t y = std::clamp<int64_t>(walk.y + i * walk.dy, 0, (source.height - 1) * kOne);
    const int64_t x = std::clamp<int64_t>(walk.x + i * walk.dx, 0, (source.width - 1) * kOne);
    const int64_t y0 = y >> kPositionBits;
    const int64_t x0 = x >> kPositionBits;
    const int64_t down = y0 + 1 < source.height ? source.stride : 0;
    const int64_t right = x0 + 1 < source.width ? kChannels : 0;
    const uint8_t* p = source.pixels + y0 * source.stride + x0 * kChannels;
    for (int c = 0; c < kChannels; ++c) {
      out[i * kChannels + c] =
          Blend(p[c], p[c + right], p[c + down], p[c + down + right], Weight(y), Weight(x));
    }
  }
}

template <int kChannels>
void WarpClamped(const Source& source, const RowWalk& walk, int64_t begin, int64_t end,
                 uint8_t* out) {
  WarpClampedScalar<kChannels>(source, walk, begin, end, out);
}

// How many columns right of x0 the inner path may touch: it loads 8 bytes for two RGB pixels.
template <int kChannels>
constexpr int kColumnsNeeded = kChannels == 3 ? 2 : 1;

template <int kChannels>
void WarpInside(const Source& source, const RowWalk& walk, int64_t begin, int64_t end,
                uint8_t* out) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t y = walk.y + i * walk.dy;
    const int64_t x = walk.x + i * walk.dx;
    const uint8_t* p =
        source.pixels + (y >> kPositionBits) * source.stride + (x >> kPositionBits) * kChannels;
    const uint8_t* q = p + source.stride;
    for (int c = 0; c < kChannels; ++c) {
      out[i * kChannels + c] =
          Blend(p[c], p[c + kChannels], q[c], q[c + kChannels], Weight(y), Weight(x));
    }
  }
}

#if defined(__SSE2__)
// Weights 0..256 as vectors, 4 kB each: loading one is cheaper than broadcasting.
struct alignas(16) WeightTables {
  std::array<std::array<int16_t, 8>, 257> vertical;    // w eight times
  std::array<std::array<int16_t, 8>, 257> horizontal;  // 256 - w, w four times
};

constexpr WeightTables MakeWeightTables() {
  WeightTables tables{};
  for (size_t w = 0; w <= 256; ++w) {
    for (size_t lane = 0; lane < 8; ++lane) {
      tables.vertical[w][lane] = static_cast<int16_t>(w);
      tables.horizontal[w][lane] = static_cast<int16_t>(lane % 2 == 0 ? 256 - w : w);
    }
  }
  return tables;
}

constexpr WeightTables kWeights = MakeWeightTables();

inline __m128i Load8(const uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}

inline __m128i LoadWeights(const std::array<int16_t, 8>& weights) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(weights.data()));
}

// Blend() of RGB pixels: two neighbours in the first six bytes of `upper` and of `lower`, weights
// 0..256. The pixel is in the low three bytes of the result.
inline int BlendRgb(__m128i upper, __m128i lower, size_t wy, size_t wx) {
  const __m128i top = _mm_unpacklo_epi8(upper, _mm_setzero_si128());
  const __m128i bottom = _mm_unpacklo_epi8(lower, _mm_setzero_si128());
  // Unsigned 8.8 in 16 bits; wraps in between and comes out right.
  __m128i column = _mm_add_epi16(
      _mm_slli_epi16(top, 8),
      _mm_mullo_epi16(_mm_sub_epi16(bottom, top), LoadWeights(kWeights.vertical[wy])));
  // madd is signed: subtract 2^15 here, add 2^15 * 256 after it.
  column = _mm_xor_si128(column, _mm_set1_epi16(static_cast<int16_t>(-32768)));
  const __m128i pairs = _mm_unpacklo_epi16(column, _mm_srli_si128(column, 6));
  __m128i sum = _mm_madd_epi16(pairs, LoadWeights(kWeights.horizontal[wx]));
  sum = _mm_srli_epi32(_mm_add_epi32(sum, _mm_set1_epi32((32768 << 8) + 32768)), 16);
  sum = _mm_packs_epi32(sum, sum);
  return _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
}

inline int WarpPixelInside(const Source& source, int64_t y, int64_t x) {
  const uint8_t* p =
      source.pixels + (y >> kPositionBits) * source.stride + (x >> kPositionBits) * 3;
  return BlendRgb(Load8(p), Load8(p + source.stride), static_cast<size_t>(Weight(y)),
                  static_cast<size_t>(Weight(x)));
}

// For pictures of at least 2 x 3 pixels. The last pixel of an axis is its last but one with weight
// 256, so that two rows and two columns are always there.
inline int WarpPixelClamped(const Source& source, int64_t y, int64_t x) {
  y = std::clamp<int64_t>(y, 0, (source.height - 1) * kOne);
  x = std::clamp<int64_t>(x, 0, (source.width - 1) * kOne);
  const int64_t y0 = std::min<int64_t>(y >> kPositionBits, source.height - 2);
  const int64_t x0 = std::min<int64_t>(x >> kPositionBits, source.width - 2);
  // The eight bytes end with the sixth at the right edge, where two more would leave the picture.
  const int64_t back = x0 == source.width - 2 ? 2 : 0;
  const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(back * 8));
  const uint8_t* p = source.pixels + y0 * source.stride + x0 * 3 - back;
  return BlendRgb(_mm_srl_epi64(Load8(p), shift), _mm_srl_epi64(Load8(p + source.stride), shift),
                  static_cast<size_t>((y - y0 * kOne) >> kWeightShift),
                  static_cast<size_t>((x - x0 * kOne) >> kWeightShift));
}

// Pixels begin..end-1 of a row. Writes four bytes a pixel; the fourth belongs to the next one.
template <typename PixelAt>
void WarpRun(const RowWalk& walk, int64_t begin, int64_t end, uint8_t* out, PixelAt pixel_at) {
  if (begin >= end) return;
  int64_t y = walk.y + begin * walk.dy;
  int64_t x = walk.x + begin * walk.dx;
  for (int64_t i = begin; i < end - 1; ++i, y += walk.dy, x += walk.dx) {
    const int rgb = pixel_at(y, x);
    std::memcpy(out + i * 3, &rgb, 4);
  }
  const int rgb = pixel_at(y, x);
  std::memcpy(out + (end - 1) * 3, &rgb, 3);
}

template <>
void WarpInside<3>(const Source& source, const RowWalk& walk, int64_t begin, int64_t end,
                   uint8_t* out) {
  WarpRun(walk, begin, end, out,
          [&source](int64_t y, int64_t x) { return WarpPixelInside(source, y, x); });
}

template <>
void WarpClamped<3>(const Source& source, const RowWalk& walk, int64_t begin, int64_t end,
                    uint8_t* out) {
  if (source.height < 2 || source.width < 3) {
    WarpClampedScalar<3>(source, walk, begin, end, out);
    return;
  }
  WarpRun(walk, begin, end, out,
          [&source](int64_t y, int64_t x) { return WarpPixelClamped(source, y, x); });
}
#endif

template <int kChannels>
void Warp(const Image& in, const AffineMatrix& m, const Box& box, uint8_t* out,
          int64_t out_stride) {
  const Source source{in.pixels.data(), int64_t{in.width} * kChannels, in.height, in.width};
  const int64_t row_limit = (int64_t{in.height} - 1) * kOne;
  const int64_t col_limit = (int64_t{in.width} - kColumnsNeeded<kChannels>)*kOne;
  const int64_t round = int64_t{1} << (kWeightShift - 1);
  for (int row = 0; row < box.height; ++row) {
    const double r = box.top + row;
    const RowWalk walk{ToFixed(m[0] * r + m[1] * box.left + m[2]) + round, ToFixed(m[1]),
                       ToFixed(m[3] * r + m[4] * box.left + m[5]) + round, ToFixed(m[4])};
    const Interval rows = Inside(walk.y, walk.dy, row_limit, box.width);
    const Interval cols = Inside(walk.x, walk.dx, col_limit, box.width);
    const int64_t begin = std::max(rows.begin, cols.begin);
    const int64_t end = std::max(begin, std::min(rows.end, cols.end));
    uint8_t* line = out + row * out_stride;
    WarpClamped<kChannels>(source, walk, 0, begin, line);
    WarpInside<kChannels>(source, walk, begin, end, line);
    WarpClamped<kChannels>(source, walk, end, box.width, line);
  }
}

}  // namespace

bool AffineParams::IsIdentity() const {
  return theta_degrees == 0 && shift_rows == 0 && shift_cols == 0 && shear_degrees == 0 &&
         zoom_rows == 1 && zoom_cols == 1;
}

AffineMatrix MakeAffineMatrix(const AffineParams& params, int height, int width,
                              double centre_offset) {
  if (params.IsIdentity()) return kIdentityMatrix;
  const double theta = Radians(params.theta_degrees);
  const double shear = Radians(params.shear_degrees);
  const double row_centre = height / 2.0 + centre_offset;
  const double col_centre = width / 2.0 + centre_offset;
  const Matrix3 rotation = {
      std::cos(theta), -std::sin(theta), 0, std::sin(theta), std::cos(theta), 0, 0, 0, 1};
  const Matrix3 shift = {1, 0, params.shift_rows, 0, 1, params.shift_cols, 0, 0, 1};
  const Matrix3 shearing = {1, -std::sin(shear), 0, 0, std::cos(shear), 0, 0, 0, 1};
  const Matrix3 zoom = {params.zoom_rows, 0, 0, 0, params.zoom_cols, 0, 0, 0, 1};
  const Matrix3 to_centre = {1, 0, row_centre, 0, 1, col_centre, 0, 0, 1};
  const Matrix3 from_centre = {1, 0, -row_centre, 0, 1, -col_centre, 0, 0, 1};
  Matrix3 m = Multiply(Multiply(Multiply(rotation, shift), shearing), zoom);
  m = Multiply(Multiply(to_centre, m), from_centre);
  return {m[0], m[1], m[2], m[3], m[4], m[5]};
}

AffineMatrix FlipOutput(const AffineMatrix& matrix, int height, int width, bool horizontal,
                        bool vertical) {
  AffineMatrix m = matrix;
  if (horizontal) {
    m[2] += m[1] * (width - 1);
    m[5] += m[4] * (width - 1);
    m[1] = -m[1];
    m[4] = -m[4];
  }
  if (vertical) {
    m[2] += m[0] * (height - 1);
    m[5] += m[3] * (height - 1);
    m[0] = -m[0];
    m[3] = -m[3];
  }
  return m;
}

void WarpAffine(const Image& in, const AffineMatrix& matrix, const Box& box, uint8_t* out,
                int64_t out_stride) {
  if (in.channels == 3) {
    Warp<3>(in, matrix, box, out, out_stride);
  } else {
    Warp<1>(in, matrix, box, out, out_stride);
  }
}

Image WarpAffine(const Image& in, const AffineMatrix& matrix) {
  Image out = Image::Make(in.height, in.width, in.channels);
  WarpAffine(in, matrix, {0, 0, in.height, in.width}, out.pixels.data(),
             int64_t{in.width} * in.channels);
  return out;
}

}  // namespace atelier::vision
