// Good pictures of every kind; testdata/make_pictures.py made them and the pixels they must become.
#include "common/vision/decode.h"

#include <gtest/gtest.h>

#include "common/vision/grayscale.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/picture_list.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

TEST(Decode, EveryKindOfPictureBecomesTheExpectedPixels) {
  const std::vector<GoldenPicture> pictures = GoldenPictures();
  ASSERT_GE(pictures.size(), 36U);
  for (const GoldenPicture& picture : pictures) {
    SCOPED_TRACE(picture.name);
    const std::string bytes = ReadTestData(picture.name);
    const auto header = ReadPictureHeader(bytes, {});
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->oriented_width, picture.width);
    EXPECT_EQ(header->oriented_height, picture.height);
    const auto image = DecodePicture(bytes, 3);
    ASSERT_TRUE(image.ok()) << image.status();
    ASSERT_EQ(image->width, picture.width);
    ASSERT_EQ(image->height, picture.height);
    const Image golden = ReadRaw(picture.name + ".rgb", picture.height, picture.width);
    EXPECT_EQ(PartBeyond(*image, golden, picture.tolerance), 0.0);
  }
}

TEST(Decode, AllEightOrientationsShowThePictureUpright) {
  // Stored as the same 20x12 picture; 1 is upright, so 5..8 are seen 12x20.
  const auto upright = DecodePicture(ReadTestData("orientation1.jpg"), 3);
  ASSERT_TRUE(upright.ok());
  for (int orientation = 2; orientation <= 8; ++orientation) {
    const auto image =
        DecodePicture(ReadTestData("orientation" + std::to_string(orientation) + ".jpg"), 3);
    ASSERT_TRUE(image.ok());
    EXPECT_EQ(image->width, orientation >= 5 ? 12 : 20) << orientation;
    EXPECT_NE(image->pixels, upright->pixels) << orientation;
  }
}

TEST(Decode, FormatComesFromTheContentNotFromAName) {
  EXPECT_EQ(ReadPictureHeader(ReadTestData("plain.jpg"), {})->format, PictureFormat::kJpeg);
  EXPECT_EQ(ReadPictureHeader(ReadTestData("rgb.png"), {})->format, PictureFormat::kPng);
  EXPECT_EQ(ReadPictureHeader(ReadTestData("lossy.webp"), {})->format, PictureFormat::kWebp);
  EXPECT_EQ(ReadPictureHeader(ReadTestData("rgb.bmp"), {})->format, PictureFormat::kBmp);
}

TEST(Decode, OneChannelIsTheLumaOfTheColours) {
  for (const char* name : {"rgb.png", "plain.jpg", "grey.png"}) {
    const std::string bytes = ReadTestData(name);
    const auto colour = DecodePicture(bytes, 3);
    const auto grey = DecodePicture(bytes, 1);
    ASSERT_TRUE(colour.ok() && grey.ok());
    EXPECT_EQ(grey->channels, 1);
    EXPECT_EQ(grey->pixels, ToGrayscale(*colour).pixels) << name;
  }
}

TEST(Decode, PngRoundTripIsExact) {
  for (const int channels : {1, 3}) {
    const Image image = NoiseImage(19, 31, channels, 4);
    ASSERT_OK_AND_ASSIGN(const std::string png, EncodePng(image));
    ASSERT_OK_AND_ASSIGN(const Image back, DecodePicture(png, channels));
    EXPECT_EQ(back.pixels, image.pixels);
    EXPECT_EQ(back.width, 31);
  }
}

TEST(Decode, APictureWithoutPixelsHasNoPng) {
  EXPECT_THAT(EncodePng({0, 0, 3, {}}), testing::StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Decode, KnowsPictureExtensionsInAnyCase) {
  for (const char* name : {"a.jpg", "A.JPEG", "x/y.Png", "b.webp", "c.BMP"}) {
    EXPECT_TRUE(HasPictureExtension(name)) << name;
  }
  for (const char* name : {"a.gif", "jpg", "a.jpg.txt", "", "a."}) {
    EXPECT_FALSE(HasPictureExtension(name)) << name;
  }
}

}  // namespace
}  // namespace atelier::vision
