// libjpeg directly: OpenCV 4.6 returns a partial picture for a cut file and says nothing.
// clang-format off
#include <cstdio>  // jpeglib.h needs it before
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <csetjmp>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/vision/picture_info.h"

namespace atelier::vision {
namespace {

// A progressive file may hold any number of scans, each a pass over all coefficients.
constexpr int kMaxScans = 200;

struct JpegReader {
  jpeg_decompress_struct decoder;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf failed;
  bool no_memory;
  char message[JMSG_LENGTH_MAX];
};

JpegReader* ReaderOf(j_common_ptr common) { return static_cast<JpegReader*>(common->client_data); }

[[noreturn]] void Fail(j_common_ptr common) {
  JpegReader* reader = ReaderOf(common);
  reader->no_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
  (*common->err->format_message)(common, reader->message);
  std::longjmp(reader->failed, 1);
}

// Warnings after which every pixel is still what the file says.
bool IsHarmless(int code) {
  return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR ||
         code == JWRN_TOO_MUCH_DATA || code == JWRN_NOT_SEQUENTIAL;
}

void OnMessage(j_common_ptr common, int level) {
  if (level < 0 && !IsHarmless(common->err->msg_code)) Fail(common);
}

void OnProgress(j_common_ptr common) {
  JpegReader* reader = ReaderOf(common);
  if (reader->decoder.input_scan_number <= kMaxScans) return;
  std::strcpy(reader->message, "too many scans");
  std::longjmp(reader->failed, 1);
}

// Adobe's inverted CMYK, as Pillow converts it.
void InvertedCmykToRgb(const uint8_t* cmyk, int64_t n, uint8_t* rgb) {
  for (int64_t i = 0; i < n; ++i, cmyk += 4, rgb += 3) {
    const unsigned white = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const unsigned product = (255U - cmyk[c]) * white + 128U;
      rgb[c] = static_cast<uint8_t>(white - ((product + (product >> 8)) >> 8));
    }
  }
}

void ReadRgbRows(jpeg_decompress_struct* decoder, uint8_t* out) {
  const size_t stride = size_t{decoder->output_width} * 3;
  while (decoder->output_scanline < decoder->output_height) {
    constexpr JDIMENSION kRows = 8;
    JSAMPROW rows[kRows];
    JDIMENSION count = 0;
    for (; count < kRows && decoder->output_scanline + count < decoder->output_height; ++count) {
      rows[count] = out + (decoder->output_scanline + count) * stride;
    }
    jpeg_read_scanlines(decoder, rows, count);
  }
}

void ReadCmykRows(jpeg_decompress_struct* decoder, uint8_t* out) {
  const JDIMENSION width = decoder->output_width;
  JSAMPARRAY row = (*decoder->mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(decoder),
                                                 JPOOL_IMAGE, width * 4, 1);
  while (decoder->output_scanline < decoder->output_height) {
    uint8_t* to = out + size_t{decoder->output_scanline} * width * 3;
    jpeg_read_scanlines(decoder, row, 1);
    InvertedCmykToRgb(row[0], width, to);
  }
}

// False: reader says why. Holds nothing that needs a destructor: errors leave by longjmp.
bool Read(JpegReader* reader, std::string_view bytes, const PictureInfo& info, uint8_t* out) {
  jpeg_decompress_struct* decoder = &reader->decoder;
  if (setjmp(reader->failed) != 0) return false;
  jpeg_create_decompress(decoder);
  decoder->client_data = reader;
  decoder->progress = &reader->progress;
  reader->progress.progress_monitor = OnProgress;
  jpeg_mem_src(decoder, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(decoder, TRUE);
  if (decoder->image_width != info.width || decoder->image_height != info.height) {
    std::strcpy(reader->message, "it states two sizes");
    return false;
  }
  const bool cmyk = decoder->jpeg_color_space == JCS_CMYK || decoder->jpeg_color_space == JCS_YCCK;
  decoder->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(decoder);
  if (cmyk) {
    ReadCmykRows(decoder, out);
  } else {
    ReadRgbRows(decoder, out);
  }
  jpeg_finish_decompress(decoder);  // reads on to the end marker: a cut file fails here at last
  return true;
}

}  // namespace

absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, const PictureInfo& info) {
  Image image = Image::Make(static_cast<int>(info.height), static_cast<int>(info.width), 3);
  JpegReader reader;
  std::memset(&reader, 0, sizeof(reader));
  reader.decoder.err = jpeg_std_error(&reader.errors);
  reader.decoder.client_data = &reader;
  reader.errors.error_exit = Fail;
  reader.errors.emit_message = OnMessage;
  const bool ok = Read(&reader, bytes, info, image.pixels.data());
  jpeg_destroy_decompress(&reader.decoder);
  if (ok) return image;
  if (reader.no_memory) return NoMemoryToDecode();
  return absl::InvalidArgumentError(absl::StrCat("the JPEG is cut or damaged: ", reader.message));
}

}  // namespace atelier::vision
