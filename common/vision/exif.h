// The one tag of EXIF that changes pixels.
#pragma once

#include <string_view>

namespace atelier::vision {

// Orientation (tag 0x0112) of IFD0, 1..8; 1 when absent or malformed. `tiff` begins with "II" or
// "MM"; an "Exif\0\0" before it is skipped.
int ExifOrientation(std::string_view tiff);

}  // namespace atelier::vision
