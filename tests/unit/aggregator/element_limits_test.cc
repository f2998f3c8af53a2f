#include "services/aggregator/element_limits.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <functional>
#include <string>

#include "atelier/v1/aggregator.pb.h"
#include "inference/grpc_predict_v2.pb.h"
#include "tests/testing/status_matchers.h"

namespace atelier::aggregator {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

using Request = inference::ModelInferRequest;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kLimit = absl::StatusCode::kResourceExhausted;

std::string Repeated(const std::string& bytes, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += bytes;
  return all;
}

// A field of the wire: `tag` in one byte, length below 128, `content`.
std::string Delimited(char tag, const std::string& content) {
  return std::string{tag, static_cast<char>(content.size())} + content;
}

template <typename Message = Request>
absl::Status Check(const std::string& bytes) {
  // Small blocks, as they come from a network.
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), 7);
  return CheckElements(*Message::descriptor(), stream);
}

struct LimitCase {
  std::string name;
  int most;
  absl::StatusCode code;
  std::function<void(Request&, int)> add;  // so many elements
};

class ElementLimitsTest : public ::testing::TestWithParam<LimitCase> {};

TEST_P(ElementLimitsTest, TakesAsManyAsThereMayBeAndRefusesOneMore) {
  const LimitCase& limit = GetParam();
  Request request;
  limit.add(request, limit.most);
  EXPECT_THAT(Check(request.SerializeAsString()), IsOk());
  limit.add(request, 1);
  EXPECT_THAT(Check(request.SerializeAsString()), StatusIs(limit.code, HasSubstr("more than")));
}

template <typename Message>
void AddParameters(Message& message, int count) {
  auto& parameters = *message.mutable_parameters();
  for (int i = 0; i < count; ++i) {
    parameters[std::to_string(parameters.size())].set_string_param("x");
  }
}

// The first input's, made when there is none.
Request::InferInputTensor& Input(Request& request) {
  return request.inputs().empty() ? *request.add_inputs() : *request.mutable_inputs(0);
}

template <typename Add>
std::function<void(Request&, int)> Times(Add add) {
  return [add](Request& request, int count) {
    for (int i = 0; i < count; ++i) add(request);
  };
}

INSTANTIATE_TEST_SUITE_P(
    Fields, ElementLimitsTest,
    ::testing::Values(
        LimitCase{"Inputs", kMostElements, kInvalid, Times([](auto& r) { r.add_inputs(); })},
        LimitCase{"Outputs", kMostElements, kInvalid, Times([](auto& r) { r.add_outputs(); })},
        LimitCase{"RawContents", kMostPictureElements, kLimit,
                  Times([](auto& r) { r.add_raw_input_contents(); })},
        LimitCase{"BytesContents", kMostPictureElements, kLimit,
                  Times([](auto& r) { Input(r).mutable_contents()->add_bytes_contents(); })},
        LimitCase{"BytesContentsOfSeveralInputs", kMostPictureElements, kLimit,
                  [](auto& r, int count) {
                    for (int i = 0; i < 2; ++i) r.add_inputs();
                    for (int i = 0; i < count; ++i) {
                      r.mutable_inputs(i % 2)->mutable_contents()->add_bytes_contents();
                    }
                  }},
        LimitCase{"Shape", kMostElements, kInvalid, Times([](auto& r) { Input(r).add_shape(1); })},
        LimitCase{"Int64Contents", kMostElements, kInvalid,
                  Times([](auto& r) { Input(r).mutable_contents()->add_int64_contents(1); })},
        LimitCase{"Uint64Contents", kMostElements, kInvalid,
                  Times([](auto& r) { Input(r).mutable_contents()->add_uint64_contents(1); })},
        LimitCase{"Parameters", kMostElements, kInvalid,
                  [](auto& r, int count) { AddParameters(r, count); }},
        LimitCase{"ParametersOfAnInput", kMostElements, kInvalid,
                  [](auto& r, int count) { AddParameters(Input(r), count); }},
        LimitCase{"ParametersOfAnOutput", kMostElements, kInvalid,
                  [](auto& r, int count) {
                    if (r.outputs().empty()) r.add_outputs();
                    AddParameters(*r.mutable_outputs(0), count);
                  }}),
    [](const auto& test) { return test.param.name; });

struct WireCase {
  std::string name;
  std::string element;
};

// What no serializer of ours writes: field 15 is nobody's, and model_name (1) is no number.
class UnknownElementsTest : public ::testing::TestWithParam<WireCase> {};

TEST_P(UnknownElementsTest, CountTogetherWhereverTheyAre) {
  const std::string& element = GetParam().element;
  EXPECT_THAT(Check(Repeated(element, kMostElements)), IsOk());
  EXPECT_THAT(Check(Repeated(element, kMostElements + 1)),
              StatusIs(kInvalid, HasSubstr("unknown")));
  const std::string in_an_input = Delimited('\x2a', element);
  EXPECT_THAT(Check(in_an_input + Repeated(element, kMostElements - 1)), IsOk());
  EXPECT_THAT(Check(in_an_input + Repeated(element, kMostElements)), StatusIs(kInvalid));
}

INSTANTIATE_TEST_SUITE_P(Wire, UnknownElementsTest,
                         ::testing::Values(WireCase{"Varint", std::string("\x78\0", 2)},
                                           WireCase{"Fixed64", "\x79" + std::string(8, '\0')},
                                           WireCase{"Delimited", std::string("\x7a\0", 2)},
                                           WireCase{"Fixed32", "\x7d" + std::string(4, '\0')},
                                           WireCase{"NameAsANumber", std::string("\x08\0", 2)}),
                         [](const auto& test) { return test.param.name; });

TEST(ElementLimits, ShapesThatAreNotPackedCountToo) {
  const std::string dim("\x18\x01", 2);  // shape, one varint with a tag of its own
  const auto input = [&](int dims) {     // two inputs: a length is below 128
    return Delimited('\x2a', Repeated(dim, dims / 2)) +
           Delimited('\x2a', Repeated(dim, dims - dims / 2));
  };
  EXPECT_THAT(Check(input(kMostElements)), IsOk());
  EXPECT_THAT(Check(input(kMostElements + 1)), StatusIs(kInvalid, HasSubstr("shape")));
}

TEST(ElementLimits, PixelsAsTypedContentsMayBeMany) {
  Request request;
  Input(request).mutable_contents()->mutable_uint_contents()->Resize(1'000'000, 255);
  EXPECT_THAT(Check(request.SerializeAsString()), IsOk());
}

TEST(ElementLimits, OwnProtocolsPicturesAreLimitedAlike) {
  v1::AggregatorPredictRequest request;
  for (int i = 0; i < kMostPictureElements; ++i) request.add_images();
  EXPECT_THAT(Check<v1::AggregatorPredictRequest>(request.SerializeAsString()), IsOk());
  request.add_images();
  EXPECT_THAT(Check<v1::AggregatorPredictRequest>(request.SerializeAsString()),
              StatusIs(kLimit, HasSubstr("images")));
}

TEST(ElementLimits, WhatIsNoMessageIsRefusedHereOrByTheParser) {
  for (const std::string& bytes : {
           std::string("\x2a\x7f", 2),          // an input of 127 bytes that are not there
           std::string("\x3a\x7f", 2),          // raw contents likewise
           std::string("\xff\xff\xff\xff", 4),  // a tag that does not end
           std::string("\0\0", 2),              // field 0
           std::string("\x2a\x02\x3a\x05", 4),  // an input's field that is longer than the input
       }) {
    EXPECT_FALSE(Check(bytes).ok() && Request().ParseFromString(bytes)) << bytes.size();
  }
  // An empty group is two bytes, too, and proto3 has none.
  EXPECT_THAT(Check("\x7b\x7c"), StatusIs(kInvalid));
  EXPECT_THAT(Check(""), IsOk());
}

}  // namespace
}  // namespace atelier::aggregator
