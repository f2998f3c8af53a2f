// Read-only zip (.keras, PyTorch's zip format, wheels) over libzip.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/cli/convert/input_file.h"

namespace atelier::convert {

class ZipArchive {
 public:
  struct Member {
    std::string name;
    uint64_t size = 0;    // unpacked, as the directory claims
    uint64_t packed = 0;  // likewise
  };
  // InvalidArgument: not a zip, or more than 100,000 members.
  static absl::StatusOr<std::unique_ptr<ZipArchive>> Open(std::shared_ptr<InputFile> file);
  ~ZipArchive();

  const std::vector<Member>& members() const { return members_; }
  // Index of the member, -1 when there is none. Two members of one name: the first.
  int Find(std::string_view name) const;
  // Whole member in memory. ResourceExhausted beyond `max_bytes`, whatever the directory claims;
  // InvalidArgument when encrypted, damaged (CRC) or of unknown compression.
  absl::StatusOr<std::string> Read(int index, uint64_t max_bytes) const;
  // The member as a temporary file, in constant memory.
  absl::StatusOr<std::shared_ptr<InputFile>> Extract(int index) const;

 private:
  struct Handle;
  ZipArchive();
  std::unique_ptr<Handle> handle_;
  std::vector<Member> members_;
};

}  // namespace atelier::convert
