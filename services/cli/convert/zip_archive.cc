#include "services/cli/convert/zip_archive.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {
namespace {

constexpr int64_t kMaxMembers = 100'000;
constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
// Deflate unpacks a byte to at most so many (zlib's technical details).
constexpr uint64_t kMostPerByte = 1032;

// Feeds the unpacked bytes to `sink` piece by piece; the CRC is checked by libzip at the end.
absl::Status Unpack(zip_t* zip, int index, const std::string& name,
                    const std::function<absl::Status(std::string_view)>& sink) {
  zip_file_t* file = zip_fopen_index(zip, static_cast<zip_uint64_t>(index), 0);
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot unpack \"", name, "\": ", zip_strerror(zip)));
  }
  absl::Status status;
  std::vector<char> buffer(1 << 18);
  while (status.ok()) {
    const zip_int64_t n = zip_fread(file, buffer.data(), buffer.size());
    if (n == 0) break;
    if (n < 0) {
      status = absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is damaged: ", zip_file_strerror(file)));
    } else {
      status = sink(std::string_view(buffer.data(), static_cast<size_t>(n)));
    }
  }
  zip_fclose(file);
  return status;
}

}  // namespace

struct ZipArchive::Handle {
  std::shared_ptr<InputFile> file;
  zip_t* zip = nullptr;
};

ZipArchive::ZipArchive() : handle_(std::make_unique<Handle>()) {}

ZipArchive::~ZipArchive() {
  if (handle_->zip != nullptr) zip_discard(handle_->zip);
}

absl::StatusOr<std::unique_ptr<ZipArchive>> ZipArchive::Open(std::shared_ptr<InputFile> file) {
  std::unique_ptr<ZipArchive> archive(new ZipArchive);
  int error = 0;
  archive->handle_->zip = zip_open(file->ReopenablePath().c_str(), ZIP_RDONLY, &error);
  if (archive->handle_->zip == nullptr) {
    zip_error_t text;
    zip_error_init_with_code(&text, error);
    const absl::Status status = absl::InvalidArgumentError(
        absl::StrCat(file->name(), " is not a complete zip archive: ", zip_error_strerror(&text)));
    zip_error_fini(&text);
    return status;
  }
  const zip_int64_t count = zip_get_num_entries(archive->handle_->zip, 0);
  if (count > kMaxMembers) {
    return absl::ResourceExhaustedError(
        absl::StrCat(file->name(), " has ", count, " members; at most ", kMaxMembers, " are read"));
  }
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat_index(archive->handle_->zip, static_cast<zip_uint64_t>(i), 0, &info) != 0 ||
        (info.valid & kNeeded) != kNeeded) {
      return absl::InvalidArgumentError(
          absl::StrCat(file->name(), ": member ", i, " of the archive has no name or size"));
    }
    archive->members_.push_back({info.name, info.size, info.comp_size});
  }
  archive->handle_->file = std::move(file);
  return archive;
}

int ZipArchive::Find(std::string_view name) const {
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<std::string> ZipArchive::Read(int index, uint64_t max_bytes) const {
  const Member& member = members_.at(static_cast<size_t>(index));
  const auto too_large = [&] {
    return absl::ResourceExhaustedError(
        absl::StrCat("\"", member.name, "\" unpacks to more than ", max_bytes, " bytes"));
  };
  if (member.size > max_bytes) return too_large();
  std::string bytes;
  // No more than the file can hold: a few bytes may claim gigabytes.
  const uint64_t packed = std::min(member.packed, handle_->file->size());
  bytes.reserve(std::min(member.size, packed * kMostPerByte));
  ATELIER_RETURN_IF_ERROR(
      Unpack(handle_->zip, index, member.name, [&](std::string_view piece) -> absl::Status {
        if (bytes.size() + piece.size() > max_bytes) return too_large();
        bytes.append(piece);
        return absl::OkStatus();
      }));
  return bytes;
}

absl::StatusOr<std::shared_ptr<InputFile>> ZipArchive::Extract(int index) const {
  const Member& member = members_.at(static_cast<size_t>(index));
  if (member.size > kMaxFileBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("\"", member.name, "\" unpacks to ",
                                                     member.size, " bytes; at most ", kMaxFileBytes,
                                                     " are converted"));
  }
  const size_t slash = member.name.rfind('/');
  ATELIER_ASSIGN_OR_RETURN(
      std::shared_ptr<InputFile> file,
      InputFile::MakeTemporary(slash == std::string::npos ? member.name
                                                          : member.name.substr(slash + 1)));
  ATELIER_RETURN_IF_ERROR(Unpack(handle_->zip, index, member.name,
                                 [&](std::string_view piece) { return file->Append(piece); }));
  return file;
}

}  // namespace atelier::convert
