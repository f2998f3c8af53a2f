// The file under conversion, or one member of a zip (a wheel, a .keras) as a file of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace atelier::convert {

// An open, read-only regular file of at most kMaxFileBytes. Closed (and unmapped) at destruction.
class InputFile {
 public:
  static absl::StatusOr<std::shared_ptr<InputFile>> Open(const std::filesystem::path& path);
  // TMPDIR, else /tmp.
  static std::filesystem::path TemporaryFolder();
  // A temporary file in that folder, to be filled by Append. Its name goes with Unlink or the
  // object.
  static absl::StatusOr<std::shared_ptr<InputFile>> MakeTemporary(std::string name);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // File name without folders.
  const std::string& name() const { return name_; }
  int fd() const { return fd_; }
  uint64_t size() const { return size_; }
  absl::Status Append(std::string_view bytes);
  // A path for libraries that open by name. HDF5 resolves links, so a temporary file must keep its
  // own name until it is open there.
  std::string ReopenablePath() const;
  // Removes a temporary file's name (a killed process then leaves nothing behind); the content
  // stays readable through `fd`.
  void Unlink();
  // The whole file, mapped on the first call. Call after the last Append.
  absl::StatusOr<std::string_view> Map();
  // Hex digest of the content.
  absl::StatusOr<std::string> Sha256();

 private:
  InputFile(std::string name, int fd, uint64_t size)
      : name_(std::move(name)), fd_(fd), size_(size) {}
  std::string name_;
  int fd_;
  uint64_t size_;
  std::string temp_path_;  // empty once unlinked
  void* mapping_ = nullptr;
};

}  // namespace atelier::convert
