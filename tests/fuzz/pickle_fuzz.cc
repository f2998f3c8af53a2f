// Pickles, and torch.save's legacy stream of them.
#include "services/cli/convert/pickle.h"
#include "services/cli/convert/torch_source.h"
#include "tests/fuzz/source_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::convert::Pickle;
  using atelier::fuzz::Check;
  const std::string_view bytes = atelier::fuzz::Bytes(data, size);
  const auto pickle = Pickle::Parse(bytes);
  atelier::fuzz::CheckRefusal(pickle.status());
  if (pickle.ok()) {
    Check(pickle->consumed() >= 1 && pickle->consumed() <= size, "it ends in the input");
    for (const Pickle::Value& value : pickle->values()) {
      for (const Pickle::Ref ref : value.items) {
        Check(ref < pickle->values().size(), "references stay in the arena");
      }
      if (value.kind == Pickle::Kind::kDict) {
        Check(value.items.size() % 2 == 0, "keys have values");
        pickle->Get(value, "key");
      }
    }
  }
  const auto file = atelier::fuzz::FileOf(bytes);
  if (file != nullptr) atelier::fuzz::CheckSource(atelier::convert::ReadTorchLegacy(file));
  return 0;
}
