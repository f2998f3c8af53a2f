#include "services/cli/convert/keras_source.h"
#include "tests/fuzz/source_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = atelier::fuzz::FileOf(atelier::fuzz::Bytes(data, size));
  if (file != nullptr) atelier::fuzz::CheckSource(atelier::convert::ReadKerasHdf5(file));
  return 0;
}
