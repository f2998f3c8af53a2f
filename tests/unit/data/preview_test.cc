#include "services/data/preview.h"

#include <memory>
#include <new>
#include <random>
#include <vector>

#include "tests/testing/little_memory.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"
#include "tests/unit/data/small_plan.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Random pixels, of which a PNG is no smaller.
std::string NoisePng(uint32_t seed, int size) {
  std::mt19937 random(seed);
  vision::Image image = vision::Image::Make(size, size, 3);
  for (uint8_t& pixel : image.pixels) pixel = static_cast<uint8_t>(random());
  return vision::EncodePng(image).value();
}

class PreviewTest : public ::testing::Test {
 protected:
  void Describe() {
    catalog_ = Catalog::Create(dir_.path(), {}, 1).value();
    const auto dataset = catalog_->Describe({}, [](int, int) {}).value();
    v1::DataPlan& plan = *request_.mutable_plan();
    plan = SmallPlan(*dataset);
    plan.set_batch_size(4);
  }
  absl::Status Make() {
    response_.Clear();
    asked_ = 0;
    return MakePreview(*catalog_, cache_, request_, response_, [this] {
      ++asked_;
      return absl::OkStatus();
    });
  }

  testing::TempDir dir_;
  PictureCache cache_{0};
  std::unique_ptr<Catalog> catalog_;
  v1::PreviewRequest request_;
  v1::PreviewResponse response_;
  int asked_ = 0;  // whether to stop
};

TEST_F(PreviewTest, AsTrainedOnAndPlainEveryPictureIsAPng) {
  WriteClasses(dir_.path(), 3);
  Describe();
  request_.set_count(5);
  for (const bool plain : {false, true}) {
    request_.set_plain(plain);
    ASSERT_THAT(Make(), IsOk());
    ASSERT_EQ(response_.pictures_size(), 5);
    for (const v1::EncodedPicture& picture : response_.pictures()) {
      ASSERT_OK_AND_ASSIGN(const vision::Image image, vision::DecodePicture(picture.png(), 3));
      EXPECT_EQ(image.width, 32);
      EXPECT_TRUE(picture.caption() == "cat" || picture.caption() == "dog") << picture.caption();
    }
  }
  request_.add_sample_ids(6);
  EXPECT_THAT(Make(), StatusIs(absl::StatusCode::kInvalidArgument));
}

// The client's channel would refuse the answer, and say nothing that helps.
TEST_F(PreviewTest, MoreThanAMessageIsRefusedWithTheFixAndNotMadeToTheEnd) {
  constexpr int kSize = 1024;
  constexpr int kFit = 5;  // of 3 MiB in 16
  for (uint32_t i = 0; i <= kFit; ++i) {
    Write(dir_.path() / (i % 2 == 0 ? "cat" : "dog") / (std::to_string(i) + ".png"),
          NoisePng(i, kSize));
  }
  Describe();
  request_.mutable_plan()->mutable_image()->set_size(kSize);
  for (const bool plain : {false, true}) {
    request_.set_plain(plain);
    request_.set_count(kFit + 1);
    EXPECT_THAT(Make(), StatusIs(absl::StatusCode::kResourceExhausted,
                                 AllOf(HasSubstr("count"), HasSubstr("image.size"))));
    request_.set_count(kFit);
    EXPECT_THAT(Make(), IsOk());
  }
  for (int i = 0; i < 64; ++i) request_.add_sample_ids(0);
  EXPECT_THAT(Make(), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_LE(asked_, kFit + 3);  // at the beginning, and before each picture
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
// On a worker's thread an exception would end the process.
TEST_F(PreviewTest, WithoutMemoryItIsRefused) {
  WriteClasses(dir_.path(), 1);
  Write(dir_.path() / "cat" / "large.bmp", GreyBmp(3400));
  Describe();
  request_.add_sample_ids(1);
  request_.set_plain(true);
  // What the heap holds free from before would serve.
  std::vector<std::unique_ptr<char[]>> taken;
  {
    const testing::LittleMemory little(0);
    while (char* hole = new (std::nothrow) char[8 << 20]) taken.emplace_back(hole);
  }
  int refusals = 0;
  absl::Status made;
  do {
    const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
    ASSERT_NO_THROW(made = Make());
    if (!made.ok()) ++refusals;
  } while (absl::IsResourceExhausted(made));
  EXPECT_THAT(made, IsOk());
  EXPECT_GT(refusals, 4);
}
#endif

}  // namespace
}  // namespace atelier::data
