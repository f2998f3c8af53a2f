#include "common/vision/exif.h"

#include <gtest/gtest.h>

#include <string>

namespace atelier::vision {
namespace {

// One directory at offset 8 with ImageWidth and then Orientation.
std::string LittleEndian(char orientation) {
  return std::string("II*\0\x08\0\0\0\x02\0", 10) +
         std::string("\x00\x01\x03\0\x01\0\0\0\x14\0\0\0", 12) +
         std::string("\x12\x01\x03\0\x01\0\0\0", 8) + orientation + std::string(7, '\0');
}

std::string BigEndian(char orientation) {
  return std::string("MM\0*\0\0\0\x08\0\x01", 10) + std::string("\x01\x12\0\x03\0\0\0\x01\0", 9) +
         orientation + std::string(6, '\0');
}

TEST(Exif, ReadsBothByteOrdersWithAndWithoutThePrefix) {
  for (char orientation = 1; orientation <= 8; ++orientation) {
    EXPECT_EQ(ExifOrientation(LittleEndian(orientation)), orientation);
    EXPECT_EQ(ExifOrientation(BigEndian(orientation)), orientation);
    EXPECT_EQ(ExifOrientation(std::string("Exif\0\0", 6) + LittleEndian(orientation)), orientation);
  }
}

TEST(Exif, WhatIsMalformedMeansUpright) {
  EXPECT_EQ(ExifOrientation(""), 1);
  EXPECT_EQ(ExifOrientation("II*"), 1);
  EXPECT_EQ(ExifOrientation(LittleEndian(0)), 1);
  EXPECT_EQ(ExifOrientation(LittleEndian(9)), 1);
  const std::string whole = LittleEndian(6);
  for (size_t size = 0; size < 34; ++size) EXPECT_EQ(ExifOrientation(whole.substr(0, size)), 1);
  // A directory far outside, and 65,535 entries that are not there.
  EXPECT_EQ(ExifOrientation(std::string("II*\0\xff\xff\xff\xff\x01\0", 10)), 1);
  EXPECT_EQ(ExifOrientation(std::string("II*\0\x08\0\0\0\xff\xff", 10)), 1);
}

}  // namespace
}  // namespace atelier::vision
