#include "common/nn/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;
using enum absl::StatusCode;

std::string File(const std::string& header, const std::string& data,
                 std::optional<uint64_t> claimed_length = std::nullopt) {
  const uint64_t length = claimed_length.value_or(header.size());
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}
std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

TEST(SafetensorsTest, RoundTripKeepsEverything) {
  const float values[6] = {1, 2, 3, 4, 5, 6};
  const uint8_t bytes[3] = {7, 8, 9};
  std::map<std::string, TensorView> tensors;
  tensors["a"] = {DType::kF32, {2, 3}, {reinterpret_cast<const char*>(values), sizeof(values)}};
  tensors["b/ü"] = {DType::kU8, {3}, {reinterpret_cast<const char*>(bytes), sizeof(bytes)}};
  tensors["empty"] = {DType::kI64, {0, 5}, {}};
  const std::string file = SerializeSafetensors(tensors, {{"source", "test"}});
  EXPECT_EQ(file, SerializeSafetensors(tensors, {{"source", "test"}}));
  ASSERT_OK_AND_ASSIGN(const Safetensors parsed, ParseSafetensors(file));
  EXPECT_EQ(parsed.metadata.at("source"), "test");
  ASSERT_EQ(parsed.tensors.size(), 3U);
  for (const auto& [name, view] : tensors) {
    EXPECT_EQ(parsed.tensors.at(name).dtype, view.dtype);
    EXPECT_EQ(parsed.tensors.at(name).shape, view.shape);
    EXPECT_EQ(parsed.tensors.at(name).bytes, view.bytes);
  }
  uint64_t header = 0;
  std::memcpy(&header, file.data(), 8);
  EXPECT_EQ(header % 8, 0U);
}

TEST(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string file = File("{" + Tensor("a", "F32", "[2]", "[0,8]") + "}", "12345678");
  ASSERT_THAT(ParseSafetensors(file), IsOk());
  for (size_t n = 0; n < file.size(); ++n) {
    EXPECT_THAT(ParseSafetensors(std::string_view(file).substr(0, n)), StatusIs(kInvalidArgument))
        << n;
  }
}

struct BadCase {
  std::string name, header, data, message;
};
class BadFileTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadFileTest, IsRefusedWithItsReason) {
  EXPECT_THAT(ParseSafetensors(File(GetParam().header, GetParam().data)),
              StatusIs(kInvalidArgument, HasSubstr(GetParam().message)));
}

const std::string kEight = "12345678";
INSTANTIATE_TEST_SUITE_P(
    Cases, BadFileTest,
    ::testing::Values(
        BadCase{"NoJson", "{\"a\":", "", "no JSON"},
        BadCase{"NotAnObject", "[1,2]  ", "", "does not begin with {"},
        BadCase{"BadUtf8", "{\"a\xff\":1}", "", "no JSON"},
        BadCase{
            "DuplicateTensor",
            "{" + Tensor("a", "U8", "[4]", "[0,4]") + "," + Tensor("a", "U8", "[4]", "[4,8]") + "}",
            kEight, "twice"},
        BadCase{"DuplicateField",
                R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})", kEight,
                "twice"},
        BadCase{"DeepNesting", "{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}",
                "", "nested too deeply"},
        BadCase{"UnknownType", "{" + Tensor("a", "F8_E4M3", "[8]", "[0,8]") + "}", kEight,
                "unknown type"},
        BadCase{
            "Overlap",
            "{" + Tensor("a", "U8", "[5]", "[0,5]") + "," + Tensor("b", "U8", "[4]", "[4,8]") + "}",
            kEight, "overlaps"},
        BadCase{
            "Gap",
            "{" + Tensor("a", "U8", "[2]", "[0,2]") + "," + Tensor("b", "U8", "[4]", "[4,8]") + "}",
            kEight, "gap"},
        BadCase{"OutOfRange", "{" + Tensor("a", "U8", "[16]", "[0,16]") + "}", kEight, "cut short"},
        BadCase{"Backwards", "{" + Tensor("a", "U8", "[8]", "[8,0]") + "}", kEight,
                "bad data_offsets"},
        BadCase{"NegativeOffset", "{" + Tensor("a", "U8", "[8]", "[-8,0]") + "}", kEight,
                "bad data_offsets"},
        BadCase{"NegativeDimension", "{" + Tensor("a", "U8", "[-8]", "[0,8]") + "}", kEight,
                "no size"},
        BadCase{"FractionalDimension", "{" + Tensor("a", "U8", "[8.0]", "[0,8]") + "}", kEight,
                "no size"},
        BadCase{"ProductOverflow",
                "{" + Tensor("a", "F32", "[4294967296,4294967296,4]", "[0,8]") + "}", kEight,
                "overflows"},
        BadCase{"HugeDimension", "{" + Tensor("a", "F32", "[9223372036854775808]", "[0,8]") + "}",
                kEight, "no size"},
        BadCase{"SizeAgainstOffsets", "{" + Tensor("a", "F32", "[3]", "[0,8]") + "}", kEight,
                "by its offsets"},
        BadCase{"TrailingBytes", "{" + Tensor("a", "U8", "[4]", "[0,4]") + "}", kEight, "trailing"},
        BadCase{"NoTensorsButData", "{}", kEight, "trailing"},
        BadCase{"MissingField", R"({"a":{"dtype":"U8","shape":[8]}})", kEight, "exactly"},
        BadCase{"ExtraField", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1}})",
                kEight, "exactly"},
        BadCase{"BadMetadata", R"({"__metadata__":{"a":1}})", "", "no string"},
        BadCase{"EmptyName", "{" + Tensor("", "U8", "[8]", "[0,8]") + "}", kEight, "name"}),
    [](const auto& instance) { return instance.param.name; });

TEST(SafetensorsTest, ImpossibleHeaderLengthsAreRefused) {
  for (const uint64_t length : {uint64_t{1} << 63, UINT64_MAX, uint64_t{1} << 21, uint64_t{3}}) {
    // The file ends first, whatever the limit is.
    EXPECT_THAT(ParseSafetensors(File("{}", "", length)), StatusIs(kInvalidArgument)) << length;
  }
}

TEST(SafetensorsTest, ARankOverTheLimitIsResourceExhausted) {
  const auto of_shape = [](const std::string& shape) {
    return ParseSafetensors(File("{" + Tensor("a", "U8", shape, "[0,8]") + "}", kEight)).status();
  };
  EXPECT_THAT(of_shape("[1,1,1,1,1,1,1,8]"), IsOk());
  EXPECT_THAT(of_shape("[1,1,1,1,1,1,1,1,8]"), StatusIs(kResourceExhausted, HasSubstr("rank 9")));
}

TEST(SafetensorsTest, AHeaderOverTheLimitIsResourceExhausted) {
  const auto of_bytes = [](size_t bytes) {
    return ParseSafetensors(File("{}" + std::string(bytes - 2, ' '), "")).status();
  };
  EXPECT_THAT(of_bytes(1 << 20), IsOk());
  EXPECT_THAT(of_bytes((1 << 20) + 1),
              StatusIs(kResourceExhausted, HasSubstr("header of 1048577")));
}

TEST(SafetensorsTest, MoreTensorsThanTheLimitAreResourceExhausted) {
  for (const std::string& metadata :
       {std::string(), std::string(R"(,"__metadata__":{"source":"test"})")}) {
    const auto of_tensors = [&](int count) {
      std::string header = "{";
      for (int i = 0; i < count; ++i) {
        header += (i == 0 ? "" : ",") + Tensor("t" + std::to_string(i), "U8", "[0]", "[0,0]");
      }
      return ParseSafetensors(File(header + metadata + "}", "")).status();
    };
    EXPECT_THAT(of_tensors(4096), IsOk()) << metadata;
    EXPECT_THAT(of_tensors(4097), StatusIs(kResourceExhausted, HasSubstr("4097 tensors")))
        << metadata;
  }
}

TEST(SafetensorsTest, AFileOverTheLimitIsResourceExhausted) {
  EXPECT_THAT(ParseSafetensors(File("{}", ""), {.max_bytes = 10}), IsOk());
  EXPECT_THAT(ParseSafetensors(File("{}", ""), {.max_bytes = 9}), StatusIs(kResourceExhausted));
}

TEST(SafetensorsTest, SeesNonFiniteNumbersOfEveryFloatType) {
  const auto view = [](DType dtype, const auto& value) {
    return TensorView{dtype, {1}, {reinterpret_cast<const char*>(&value), sizeof(value)}};
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const double infinity = -std::numeric_limits<double>::infinity();
  const float big = std::numeric_limits<float>::max();
  const uint16_t half_inf = 0x7c00;
  const uint16_t half_max = 0x7bff;
  const uint16_t bf16_nan = 0xffc0;
  EXPECT_TRUE(HasNonFinite(view(DType::kF32, nan)));
  EXPECT_FALSE(HasNonFinite(view(DType::kF32, big)));
  EXPECT_TRUE(HasNonFinite(view(DType::kF64, infinity)));
  EXPECT_TRUE(HasNonFinite(view(DType::kF16, half_inf)));
  EXPECT_FALSE(HasNonFinite(view(DType::kF16, half_max)));
  EXPECT_TRUE(HasNonFinite(view(DType::kBF16, bf16_nan)));
  EXPECT_FALSE(HasNonFinite(view(DType::kI32, nan)));
}

}  // namespace
}  // namespace atelier::nn
