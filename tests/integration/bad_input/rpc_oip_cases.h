// Bad Open Inference Protocol requests, case by case as RELIABILITY lists them ("RPC"), and the
// code each is answered with. The parser's unit test and the real server's run over one table.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "inference/grpc_predict_v2.pb.h"

namespace atelier::aggregator {

// "BYTES": a little-endian uint32 length, then the bytes.
inline std::string BytesElement(const std::string& bytes) {
  std::string element;
  for (int shift = 0; shift < 32; shift += 8) {
    element.push_back(static_cast<char>(bytes.size() >> shift));
  }
  return element + bytes;
}

// What a case spoils. `pictures`: two elements.
inline inference::ModelInferRequest TwoImagesRequest(const std::vector<std::string>& pictures) {
  inference::ModelInferRequest request;
  request.set_model_name("ensemble");
  auto& input = *request.add_inputs();
  input.set_name("image");
  input.set_datatype("BYTES");
  input.add_shape(2);
  request.add_raw_input_contents(BytesElement(pictures[0]) + BytesElement(pictures[1]));
  return request;
}

// UINT8 [2, 1, 2, 3], the letters from A to L.
inline inference::ModelInferRequest TwoPixelPicturesRequest() {
  inference::ModelInferRequest request;
  request.set_model_name("ensemble");
  auto& input = *request.add_inputs();
  input.set_name("pixels");
  input.set_datatype("UINT8");
  for (const int dim : {2, 1, 2, 3}) input.add_shape(dim);
  request.add_raw_input_contents(std::string("ABCDEFGHIJKL"));
  return request;
}

struct OipBadCase {
  std::string name;
  std::function<void(inference::ModelInferRequest&)> spoil;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  bool pixels = false;  // spoils TwoPixelPicturesRequest instead
};

inline std::vector<OipBadCase> OipBadCases() {
  using Request = inference::ModelInferRequest;
  const auto dim = [](int index, int64_t value) {
    return [=](Request& r) { r.mutable_inputs(0)->set_shape(index, value); };
  };
  constexpr auto kLimit = absl::StatusCode::kResourceExhausted;
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  // 2^63 is not an int64: its bits are the smallest one.
  constexpr int64_t kTwoTo63 = std::numeric_limits<int64_t>::min();
  return {
      // shape against byte count
      {"ShapeClaimsMoreThanSent", dim(0, 3)},
      {"ShapeClaimsFewerThanSent", dim(0, 1)},
      {"NoContents", [](Request& r) { r.clear_raw_input_contents(); }},
      {"PixelsTooFewBytes", [](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); }, kBad,
       true},
      {"PixelsTooManyBytes", [](Request& r) { r.mutable_raw_input_contents(0)->append("x"); }, kBad,
       true},
      {"PixelsNoContents", [](Request& r) { r.clear_raw_input_contents(); }, kBad, true},
      // dims -1, 0, 2^63, product overflow
      {"DimMinusOne", dim(0, -1)},
      {"DimZero_EmptyBatch", dim(0, 0)},
      {"DimTwoTo63", dim(0, kTwoTo63)},
      {"DimLargest", dim(0, kHuge)},
      {"PixelsDimMinusOne", dim(2, -1), kBad, true},
      {"PixelsDimZero", dim(1, 0), kBad, true},
      {"PixelsEmptyBatch", dim(0, 0), kBad, true},
      {"PixelsDimTwoTo63", dim(1, kTwoTo63), kBad, true},
      {"PixelsDimLargest", dim(1, kHuge), kBad, true},
      {"PixelsProductOverflow",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(1, (int64_t{1} << 31) - 1);
         r.mutable_inputs(0)->set_shape(2, (int64_t{1} << 31) - 1);
       },
       kBad, true},
      // One picture, whose own bytes are more than an int64 counts.
      {"PixelsProductOverflowOfOnePicture",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(0, 1);
         r.mutable_inputs(0)->set_shape(1, (int64_t{1} << 31) - 1);
         r.mutable_inputs(0)->set_shape(2, (int64_t{1} << 31) - 1);
       },
       kBad, true},
      // 2 * 2 * (2^62 + 1) * 3 is 12, the bytes sent, once it has overflowed 64 bits.
      {"PixelsProductOverflowsToTheRightCount",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(1, 2);
         r.mutable_inputs(0)->set_shape(2, (int64_t{1} << 62) + 1);
       },
       kBad, true},
      // wrong dtype
      {"WrongType", [](Request& r) { r.mutable_inputs(0)->set_datatype("FP32"); }},
      {"NoType", [](Request& r) { r.mutable_inputs(0)->clear_datatype(); }},
      {"TypeInSmallLetters", [](Request& r) { r.mutable_inputs(0)->set_datatype("bytes"); }},
      {"PixelsWrongType", [](Request& r) { r.mutable_inputs(0)->set_datatype("FP32"); }, kBad,
       true},
      {"PixelsValueOver255",
       [](Request& r) {
         r.clear_raw_input_contents();
         for (int i = 0; i < 12; ++i) {
           r.mutable_inputs(0)->mutable_contents()->add_uint_contents(256);
         }
       },
       kBad, true},
      // typed and raw contents both
      {"RawAndTyped",
       [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_bytes_contents("x"); }},
      {"PixelsRawAndTyped",
       [](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_uint_contents(1); }, kBad,
       true},
      {"TwoRaw", [](Request& r) { r.add_raw_input_contents("x"); }},
      {"TypedContentsOfAnotherType",
       [](Request& r) {
         r.clear_raw_input_contents();
         for (int i = 0; i < 2; ++i) r.mutable_inputs(0)->mutable_contents()->add_int_contents(1);
       }},
      // BYTES length past the end
      {"BytesLengthPastTheEnd",
       [](Request& r) { r.set_raw_input_contents(0, BytesElement("a") + "\xff\xff\xff\xff"); }},
      {"BytesLengthOnePastTheEnd", [](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); }},
      {"BytesLengthCut",
       [](Request& r) { r.set_raw_input_contents(0, BytesElement("a") + "\x01"); }},
      {"BytesLeftOver", [](Request& r) { r.mutable_raw_input_contents(0)->append("x"); }},
      {"RawContentsEmpty", [](Request& r) { r.set_raw_input_contents(0, ""); }},
      // batch over the limit, before a byte of it is looked at
      {"SixtyFiveClaimed", dim(0, 65), kLimit},
      {"TwoBillionClaimed", dim(0, std::numeric_limits<int32_t>::max()), kLimit},
      {"PixelsSixtyFiveClaimed", dim(0, 65), kLimit, true},
      // NaN
      {"NaN",
       [](Request& r) {
         r.clear_raw_input_contents();
         r.mutable_inputs(0)->set_datatype("FP32");
         for (int i = 0; i < 2; ++i) {
           r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(
               std::numeric_limits<float>::quiet_NaN());
         }
       }},
      {"NaNBesideThePictures",
       [](Request& r) {
         r.clear_raw_input_contents();
         auto& contents = *r.mutable_inputs(0)->mutable_contents();
         contents.add_bytes_contents("x");
         contents.add_bytes_contents("y");
         contents.add_fp32_contents(std::numeric_limits<float>::quiet_NaN());
       }},
      // unknown, missing or repeated input
      {"UnknownInput", [](Request& r) { r.mutable_inputs(0)->set_name("picture"); }},
      {"InputWithoutName", [](Request& r) { r.mutable_inputs(0)->clear_name(); }},
      {"InputOf100000Letters",
       [](Request& r) { r.mutable_inputs(0)->set_name(std::string(100'000, 'x')); }},
      // The 64th byte, where messages cut it, is inside a character.
      {"InputNameWithALongCharacter",
       [](Request& r) { r.mutable_inputs(0)->set_name(std::string(63, 'x') + "\xc3\xa9"); }},
      {"InputMissing", [](Request& r) { r.clear_inputs(); }},
      {"InputRepeated", [](Request& r) { *r.add_inputs() = r.inputs(0); }},
      {"BothInputs",
       [](Request& r) {
         *r.add_inputs() = TwoPixelPicturesRequest().inputs(0);
         r.add_raw_input_contents("ABCDEFGHIJKL");
       }},
      {"SharedMemory",
       [](Request& r) {
         (*r.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("x");
       }},
      // unknown output
      {"UnknownOutput", [](Request& r) { r.add_outputs()->set_name("logits"); }},
      {"OutputRepeated",
       [](Request& r) {
         r.add_outputs()->set_name("label");
         r.add_outputs()->set_name("label");
       }},
      {"Classification",
       [](Request& r) {
         auto& output = *r.add_outputs();
         output.set_name("probabilities");
         (*output.mutable_parameters())["classification"].set_int64_param(3);
       }},
      // wrong rank
      {"NoShape", [](Request& r) { r.mutable_inputs(0)->clear_shape(); }},
      {"RankTwo", [](Request& r) { r.mutable_inputs(0)->add_shape(1); }},
      {"Rank1000",
       [](Request& r) {
         for (int i = 0; i < 999; ++i) r.mutable_inputs(0)->add_shape(1);
       }},
      {"PixelsRankThree", [](Request& r) { r.mutable_inputs(0)->mutable_shape()->RemoveLast(); },
       kBad, true},
      {"PixelsFourChannels", dim(3, 4), kBad, true},
  };
}

}  // namespace atelier::aggregator
