#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>

#include "services/aggregator/element_limits.h"
#include "services/aggregator/oip_request.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  constexpr int kMaxPictures = 64;
  inference::ModelInferRequest request;
  google::protobuf::io::ArrayInputStream wire(data, static_cast<int>(size));
  const absl::Status few = atelier::aggregator::CheckElements(*request.GetDescriptor(), wire);
  atelier::fuzz::CheckRefusal(few);
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  if (few.ok()) {
    Check(request.inputs_size() <= atelier::aggregator::kMostElements, "few inputs");
    Check(request.raw_input_contents_size() <= atelier::aggregator::kMostPictureElements,
          "few raw contents");
  }
  const auto parsed = atelier::aggregator::ParseOipRequest(request, kMaxPictures);
  atelier::fuzz::CheckRefusal(parsed.status());
  if (!parsed.ok()) return 0;
  const auto& pictures = parsed->pictures;
  Check(pictures.count >= 1 && pictures.count <= kMaxPictures, "1 to 64 pictures");
  Check(parsed->want_probabilities || parsed->want_labels, "something is asked for");
  size_t bytes = 0;
  for (const std::string_view picture : pictures.encoded) {
    // Read to the last byte: the sanitizer sees views that reach outside.
    Check(std::count(picture.begin(), picture.end(), 'x') >= 0, "readable");
    bytes += picture.size();
  }
  Check(bytes <= size, "pictures are parts of the request");
  if (pictures.height == 0) {
    Check(pictures.encoded.size() == static_cast<size_t>(pictures.count), "as many as claimed");
  } else {
    // As double: exact for what can be in a request, and beyond it no overflow.
    const double expected = double{3} * pictures.count * pictures.height * pictures.width;
    Check(static_cast<double>(pictures.pixels.size()) == expected, "every pixel is there");
  }
  return 0;
}
