// RELIABILITY.md, "Weights": what a conversion refuses or has to take, with its code. The formats'
// own tests have the rest (keras_source_test, torch_source_test, pickle_test; nn/safetensors_test).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <zip.h>

#include <cstring>
#include <limits>
#include <string>

#include "common/nn/graph.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/convert_files.h"
#include "tests/unit/convert/writers.h"

namespace atelier::convert {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;
constexpr auto kMismatch = absl::StatusCode::kFailedPrecondition;

class RefusedTest : public ::testing::Test {
 protected:
  absl::StatusOr<Converted> ConvertBytes(const std::string& bytes) {
    EXPECT_THAT(WriteFileAtomically(path_, bytes), IsOk());
    return ConvertFile(path_);
  }
  // A new HDF5 file with one data set (or what `make` makes of it).
  template <typename Fn>
  absl::StatusOr<Converted> ConvertH5(Fn&& make) {
    const hid_t file = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    make(file);
    H5Fclose(file);
    return ConvertFile(path_);
  }
  // tiny_cnn as Atelier's safetensors.
  std::string OwnFile(const std::string& changed = "", float value = 0) {
    std::map<std::string, nn::TensorView> views;
    std::vector<Layer> layers = PatternLayers(graph_, /*keras_layout=*/false);
    for (Layer& layer : layers) {
      for (Weight& weight : layer.weights) {
        if (weight.name == changed) weight.values[0] = value;
        views["backbone/" + weight.name] = {
            nn::DType::kF32,
            weight.shape,
            {reinterpret_cast<const char*>(weight.values.data()), weight.values.size() * 4}};
      }
    }
    return nn::SerializeSafetensors(views);
  }
  nn::Graph graph_ = *nn::BuildBackboneGraph("tiny_cnn");
  testing::TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "w";
};

TEST_F(RefusedTest, NothingIsLeftBehindWhenANumberInTheMiddleIsBad) {
  ASSERT_THAT(ConvertBytes(OwnFile()), IsOk());
  std::filesystem::remove(path_.string() + ".safetensors");
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(ConvertBytes(OwnFile("sepconv1_bn/gamma", bad)),
                StatusIs(kInvalid, HasSubstr("sepconv1_bn/gamma")));
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_EQ(files, 1) << "only the input";
}

TEST_F(RefusedTest, NaNInPyTorchFiles) {
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  tensors[3].storage[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ConvertBytes(LegacyTorchFile(tensors)), StatusIs(kInvalid, HasSubstr("NaN")));
  WriteTorchZip(path_, tensors);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("NaN")));
}

TEST_F(RefusedTest, SafetensorsOfEveryBadKind) {
  const auto file = [](const std::string& header, const std::string& data, uint64_t length) {
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    return out + header + data;
  };
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string data = "12345678";
  EXPECT_THAT(ConvertBytes(file(good, data, uint64_t{1} << 63)), StatusIs(kInvalid));
  EXPECT_THAT(ConvertBytes(file(good, data, good.size() + 20)), StatusIs(kInvalid));
  EXPECT_THAT(ConvertBytes(file(good, "1234", good.size())), StatusIs(kInvalid));
  EXPECT_THAT(ConvertBytes(file(good, data + "x", good.size())),
              StatusIs(kInvalid, HasSubstr("trailing")));
  for (const std::string& header :
       {std::string("{\"a\xff\":{}}"), std::string(R"({"a":{},"a":{}})"),
        std::string(R"({"a":{"dtype":"F8","shape":[8],"data_offsets":[0,8]}})"),
        std::string(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],)"
                    R"("data_offsets":[0,8]}})"),
        std::string(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
                    R"("b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})")}) {
    EXPECT_THAT(ConvertBytes(file(header, data, header.size())), StatusIs(kInvalid)) << header;
  }
  // Well-formed, but of nothing that is known.
  EXPECT_THAT(ConvertBytes(file(good, std::string(8, '\0'), good.size())), StatusIs(kMismatch));
}

TEST_F(RefusedTest, Hdf5BeyondTheLimits) {
  EXPECT_THAT(ConvertH5([](hid_t file) {
                const hsize_t dims[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
                const hid_t space = H5Screate_simple(9, dims, nullptr);
                H5Dclose(H5Dcreate2(file, "deep", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                                    H5P_DEFAULT));
                H5Sclose(space);
              }),
              StatusIs(kTooMuch, HasSubstr("rank 9")));
  EXPECT_THAT(ConvertH5([](hid_t file) {
                const hid_t space = H5Screate(H5S_SCALAR);
                for (int i = 0; i < 4100; ++i) {
                  H5Dclose(H5Dcreate2(file, std::to_string(i).c_str(), H5T_IEEE_F32LE, space,
                                      H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
                }
                H5Sclose(space);
              }),
              StatusIs(kTooMuch, HasSubstr("4096")));
  EXPECT_THAT(ConvertH5([](hid_t file) {
                std::string path;
                for (int i = 0; i < 40; ++i) {
                  path += "/g";
                  H5Gclose(H5Gcreate2(file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
                }
              }),
              StatusIs(kTooMuch, HasSubstr("deep")));
}

// A chunked data set may claim terabytes and hold nothing.
TEST_F(RefusedTest, Hdf5ThatClaimsMoreThanItHolds) {
  for (const hsize_t n : {hsize_t{1} << 20, hsize_t{1} << 62}) {
    EXPECT_THAT(ConvertH5([&](hid_t file) {
                  const hsize_t dims[2] = {n, 4};
                  const hsize_t chunk[2] = {64, 4};
                  const hid_t space = H5Screate_simple(2, dims, nullptr);
                  const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
                  H5Pset_chunk(plist, 2, chunk);
                  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
                  H5Pset_create_intermediate_group(links, 1);
                  H5Dclose(H5Dcreate2(file, "layers/conv2d/vars/0", H5T_IEEE_F32LE, space, links,
                                      plist, H5P_DEFAULT));
                  H5Pclose(links);
                  H5Pclose(plist);
                  H5Sclose(space);
                }),
                AnyOf(StatusIs(kInvalid), StatusIs(kMismatch)))
        << n;
  }
}

TEST_F(RefusedTest, Hdf5OfUnknownFiltersAndUserDefinedLinks) {
  EXPECT_THAT(ConvertH5([](hid_t file) {
                const hsize_t dims[1] = {64};
                const hid_t space = H5Screate_simple(1, dims, nullptr);
                const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
                H5Pset_chunk(plist, 1, dims);
                H5Pset_nbit(plist);
                H5Dclose(H5Dcreate2(file, "packed", H5T_IEEE_F32LE, space, H5P_DEFAULT, plist,
                                    H5P_DEFAULT));
                H5Pclose(plist);
                H5Sclose(space);
              }),
              StatusIs(kInvalid, HasSubstr("filter")));
  EXPECT_THAT(ConvertH5([](hid_t file) {
                H5L_class_t type = {};
                type.version = H5L_LINK_CLASS_T_VERS;
                type.id = static_cast<H5L_type_t>(H5L_TYPE_UD_MIN + 1);
                type.comment = "a link that runs code";
                type.trav_func = [](const char*, hid_t, const void*, size_t, hid_t,
                                    hid_t) -> hid_t { return -1; };
                H5Lregister(&type);
                H5Lcreate_ud(file, "link", type.id, "x", 1, H5P_DEFAULT, H5P_DEFAULT);
                H5Lunregister(type.id);
              }),
              StatusIs(kInvalid, HasSubstr("user-defined")));
}

TEST_F(RefusedTest, ZipsThatAreBombsOrLocked) {
  // 80 MiB of zeros as the pickle, packed to a thousandth. The limit of a pickle is 64 MiB.
  WriteZip(path_, {{"a/data.pkl", std::string(80 << 20, '\0')}});
  EXPECT_LT(std::filesystem::file_size(path_), 1 << 20);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kTooMuch, HasSubstr("unpacks")));
  WriteZip(path_, {{"a/data.pkl", StateDictPickle({})}});
  int error = 0;
  zip_t* const zip = zip_open(path_.c_str(), 0, &error);
  zip_file_set_encryption(zip, 0, ZIP_EM_AES_256, "secret");
  zip_close(zip);
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("unpack")));
}

TEST_F(RefusedTest, ZipWithAnAbsoluteOrUpwardMemberReadsOnlyTheMember) {
  // Members are read by name and never written to a path of their choosing.
  WriteZip(path_, {{"../../model.weights.h5", "no HDF5"}, {"/etc/data.pkl", "x"}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid));
  EXPECT_THAT(ConvertFile(path_, "", true, "../../model.weights.h5"), StatusIs(kInvalid));
  EXPECT_FALSE(
      std::filesystem::exists(dir_.path().parent_path().parent_path() / "model.weights.h5"));
}

TEST_F(RefusedTest, PyTorchOfOtherMachinesAndTypes) {
  WriteZip(path_, {{"a/data.pkl", StateDictPickle(TorchTensors(graph_))}, {"a/byteorder", "big"}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("big-endian")));
  std::string pickle = StateDictPickle(TorchTensors(graph_));
  const std::string type = "FloatStorage";
  pickle.replace(pickle.find(type), type.size(), "QInt8Storage");
  WriteZip(path_, {{"a/data.pkl", pickle}});
  EXPECT_THAT(ConvertFile(path_), StatusIs(kInvalid, HasSubstr("QInt8Storage")));
}

TEST_F(RefusedTest, ShapesThatOverflowInAPickle) {
  std::vector<TorchTensor> tensors = TorchTensors(graph_);
  tensors[0].shape = {2'000'000'000, 2'000'000'000, 2'000'000'000, 2'000'000'000};
  tensors[0].strides = {0, 0, 0, 0};
  EXPECT_THAT(ConvertBytes(LegacyTorchFile(tensors)), StatusIs(kInvalid, HasSubstr("possible")));
  tensors[0].shape.assign(9, 1);
  tensors[0].strides.assign(9, 1);
  EXPECT_THAT(ConvertBytes(LegacyTorchFile(tensors)), StatusIs(kTooMuch, HasSubstr("rank 9")));
}

#ifndef __SANITIZE_ADDRESS__  // libhdf5 1.10 reads past its own buffers for some (tests/fuzz, hdf5)
// The bytes of a whole file, one flipped at a time: an answer, or the same architecture; no crash.
TEST_F(RefusedTest, EveryFlippedByteOfAnHdf5FilesStructureIsAnswered) {
  WriteLegacyH5(path_, PatternLayers(graph_, true));
  const std::string whole = *ReadFile(path_);
  for (size_t at = 0; at < whole.size(); at += 97) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x55);
    const auto result = ConvertBytes(flipped);
    if (result.ok()) continue;
    EXPECT_THAT(result, AnyOf(StatusIs(kInvalid), StatusIs(kMismatch), StatusIs(kTooMuch))) << at;
  }
}
#endif

TEST_F(RefusedTest, WrongArchitectureNamesTheFirstMismatchInEveryFormat) {
  const auto mismatch = StatusIs(kMismatch, HasSubstr("layer 0 (block1_conv1)"));
  ASSERT_THAT(WriteFileAtomically(path_, OwnFile()), IsOk());
  EXPECT_THAT(ConvertFile(path_, "xception"), mismatch);
  ASSERT_THAT(WriteFileAtomically(path_, LegacyTorchFile(TorchTensors(graph_))), IsOk());
  EXPECT_THAT(ConvertFile(path_, "xception"), mismatch);
  WriteLegacyH5(path_, PatternLayers(graph_, true));
  EXPECT_THAT(ConvertFile(path_, "xception"), mismatch);
  WriteKeras3H5(path_, {{"layers", PatternLayers(graph_, true)}});
  EXPECT_THAT(ConvertFile(path_, "xception"), mismatch);
}

}  // namespace
}  // namespace atelier::convert
