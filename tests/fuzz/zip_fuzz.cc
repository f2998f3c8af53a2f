// Zips: every member, then as PyTorch's format.
#include "services/cli/convert/torch_source.h"
#include "services/cli/convert/zip_archive.h"
#include "tests/fuzz/source_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  constexpr uint64_t kMaxMember = 1 << 20;
  constexpr int kMaxMembers = 16;
  const auto file = atelier::fuzz::FileOf(atelier::fuzz::Bytes(data, size));
  if (file == nullptr) return 0;
  auto archive = atelier::convert::ZipArchive::Open(file);
  atelier::fuzz::CheckRefusal(archive.status());
  if (!archive.ok()) return 0;
  const auto& members = (*archive)->members();
  for (size_t i = 0; i < members.size() && i < kMaxMembers; ++i) {
    Check((*archive)->Find(members[i].name) >= 0, "a member is found by its name");
    const auto bytes = (*archive)->Read(static_cast<int>(i), kMaxMember);
    atelier::fuzz::CheckRefusal(bytes.status());
    if (bytes.ok()) Check(bytes->size() <= kMaxMember, "no member is larger than allowed");
    // Unlike Read, this one is bounded by 4 GiB only: a bomb would cost minutes here.
    if (bytes.ok() && i == 0) {
      const auto extracted = (*archive)->Extract(0);
      atelier::fuzz::CheckRefusal(extracted.status());
      if (extracted.ok()) Check((*extracted)->size() == bytes->size(), "both ways agree");
    }
  }
  atelier::fuzz::CheckSource(atelier::convert::ReadTorchZip(
      std::shared_ptr<atelier::convert::ZipArchive>(*std::move(archive))));
  return 0;
}
