// libpng directly: transparency of every kind, 16 bits cut to the high byte, no gamma.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

constexpr png_alloc_size_t kMaxChunkBytes = 8 << 20;

struct PngReader {
  std::string_view bytes;
  size_t at = 0;
  png_structp png = nullptr;
  png_infop info = nullptr;
  int passes = 1;
  int channels = 0;  // 3 or 4 after the transformations
  bool no_memory = false;
  char message[128] = "";

  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void OnError(png_structp png, png_const_charp message) {
  PngReader* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof(reader->message), "%s", message);
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp) {}

// For libpng and the zlib below it. What they say when it fails has many wordings.
png_voidp Allocate(png_structp png, png_alloc_size_t n) {
  void* memory = std::malloc(n);
  if (memory == nullptr) static_cast<PngReader*>(png_get_mem_ptr(png))->no_memory = true;
  return memory;
}

void OnRead(png_structp png, png_bytep out, size_t n) {
  PngReader* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (n > reader->bytes.size() - reader->at) png_error(png, "it ends too early");
  std::memcpy(out, reader->bytes.data() + reader->at, n);
  reader->at += n;
}

// The two functions below hold nothing that needs a destructor: errors leave by longjmp.
bool ReadHeader(PngReader* reader, const PictureInfo& expected) {
  png_structp png = reader->png;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_read_fn(png, reader, OnRead);
  png_set_chunk_malloc_max(png, kMaxChunkBytes);
  png_read_info(png, reader->info);
  if (png_get_image_width(png, reader->info) != expected.width ||
      png_get_image_height(png, reader->info) != expected.height) {
    png_error(png, "it states two sizes");
  }
  png_set_expand(png);  // palette to RGB, small grey to 8 bits, tRNS to alpha
  png_set_strip_16(png);
  png_set_gray_to_rgb(png);
  reader->passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);
  reader->channels = png_get_channels(png, reader->info);
  return true;
}

bool ReadRows(PngReader* reader, int64_t height, int64_t stride, uint8_t* out) {
  png_structp png = reader->png;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  for (int pass = 0; pass < reader->passes; ++pass) {
    for (int64_t row = 0; row < height; ++row) png_read_row(png, out + row * stride, nullptr);
  }
  png_read_end(png, nullptr);
  return true;
}

absl::Status NotDecoded(const PngReader& reader) {
  if (reader.no_memory) return NoMemoryToDecode();
  return absl::InvalidArgumentError(absl::StrCat("the PNG is cut or damaged: ", reader.message));
}

}  // namespace

absl::StatusOr<Image> DecodePng(std::string_view bytes, const PictureInfo& info) {
  PngReader reader;
  reader.bytes = bytes;
  reader.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &reader, OnError, OnWarning, &reader,
                                        Allocate, nullptr);
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return NoMemoryToDecode();
  if (!ReadHeader(&reader, info)) return NotDecoded(reader);
  Image image = Image::Make(static_cast<int>(info.height), static_cast<int>(info.width), 3);
  if (reader.channels == 3) {
    if (!ReadRows(&reader, info.height, info.width * 3, image.pixels.data())) {
      return NotDecoded(reader);
    }
    return image;
  }
  std::vector<uint8_t> rgba(static_cast<size_t>(info.width * info.height) * 4);
  if (!ReadRows(&reader, info.height, info.width * 4, rgba.data())) return NotDecoded(reader);
  ComposeOverWhite(rgba.data(), info.width * info.height, true, image.pixels.data());
  return image;
}

}  // namespace atelier::vision
