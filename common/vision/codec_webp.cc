// libwebp directly: OpenCV 4.6 refuses animations.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

const uint8_t* Bytes(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

// libwebp 1.2.4 has a status for a lack of memory, but not everywhere (an alpha plane, Huffman
// codes), and none at all where it decodes animations.
absl::Status NotDecoded() { return DamagedUnlessNoMemory("the WebP is cut or damaged"); }

absl::StatusOr<Image> DecodeFirstFrame(std::string_view bytes, Image image) {
  const WebPData data{Bytes(bytes), bytes.size()};
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) return NotDecoded();
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &options), &WebPAnimDecoderDelete);
  WebPAnimInfo animation;
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  if (decoder == nullptr || WebPAnimDecoderGetInfo(decoder.get(), &animation) == 0 ||
      animation.canvas_width != static_cast<uint32_t>(image.width) ||
      animation.canvas_height != static_cast<uint32_t>(image.height) ||
      WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp) == 0) {
    return NotDecoded();
  }
  ComposeOverWhite(rgba, int64_t{image.width} * image.height, true, image.pixels.data());
  return image;
}

}  // namespace

absl::StatusOr<Image> DecodeWebp(std::string_view bytes, const PictureInfo& info) {
  Image image = Image::Make(static_cast<int>(info.height), static_cast<int>(info.width), 3);
  errno = 0;  // NotDecoded looks at it
  if (info.animated) return DecodeFirstFrame(bytes, std::move(image));
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(Bytes(bytes), bytes.size(), &features) != VP8_STATUS_OK ||
      features.width != image.width || features.height != image.height) {
    return NotDecoded();
  }
  if (features.has_alpha == 0) {
    if (WebPDecodeRGBInto(Bytes(bytes), bytes.size(), image.pixels.data(), image.pixels.size(),
                          image.width * 3) == nullptr) {
      return NotDecoded();
    }
    return image;
  }
  std::vector<uint8_t> rgba(image.pixels.size() / 3 * 4);
  if (WebPDecodeRGBAInto(Bytes(bytes), bytes.size(), rgba.data(), rgba.size(), image.width * 4) ==
      nullptr) {
    return NotDecoded();
  }
  ComposeOverWhite(rgba.data(), int64_t{image.width} * image.height, true, image.pixels.data());
  return image;
}

}  // namespace atelier::vision
