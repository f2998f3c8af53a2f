#include "services/cli/convert/input_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

absl::StatusOr<std::shared_ptr<InputFile>> InputFile::Open(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::NotFoundError(absl::StrCat("cannot open ", name, ": ", std::strerror(errno)));
  }
  std::shared_ptr<InputFile> file(new InputFile(name, fd, 0));
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is not a regular file"));
  }
  file->size_ = static_cast<uint64_t>(info.st_size);
  if (file->size_ > kMaxFileBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(name, " has ", file->size_, " bytes; at most ",
                                                     kMaxFileBytes, " are converted"));
  }
  return file;
}

std::filesystem::path InputFile::TemporaryFolder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

absl::StatusOr<std::shared_ptr<InputFile>> InputFile::MakeTemporary(std::string name) {
  std::string path = (TemporaryFolder() / "atelier-convert.XXXXXX").string();
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot make a temporary file: ", std::strerror(errno),
                     "; set TMPDIR to a folder with space"));
  }
  std::shared_ptr<InputFile> file(new InputFile(std::move(name), fd, 0));
  file->temp_path_ = std::move(path);
  return file;
}

InputFile::~InputFile() {
  if (mapping_ != nullptr) ::munmap(mapping_, size_);
  Unlink();
  ::close(fd_);
}

void InputFile::Unlink() {
  if (!temp_path_.empty()) ::unlink(temp_path_.c_str());
  temp_path_.clear();
}

absl::Status InputFile::Append(std::string_view bytes) {
  if (size_ + bytes.size() > kMaxFileBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name_, " unpacks to more than ", kMaxFileBytes, " bytes"));
  }
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "unpacking ", name_, ": ", std::strerror(errno), "; set TMPDIR to a folder with space"));
    }
    size_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

std::string InputFile::ReopenablePath() const {
  return temp_path_.empty() ? absl::StrCat("/proc/self/fd/", fd_) : temp_path_;
}

absl::StatusOr<std::string_view> InputFile::Map() {
  if (size_ == 0) return std::string_view();
  if (mapping_ == nullptr) {
    void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
    if (p == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("mapping ", name_, ": ", std::strerror(errno)));
    }
    mapping_ = p;
  }
  return std::string_view(static_cast<const char*>(mapping_), size_);
}

absl::StatusOr<std::string> InputFile::Sha256() {
  class Sha256 sha;
  std::vector<char> buffer(1 << 18);
  uint64_t done = 0;
  while (done < size_) {
    const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::DataLossError(absl::StrCat("reading ", name_, " stopped at ", done));
    sha.Update(std::string_view(buffer.data(), static_cast<size_t>(n)));
    done += static_cast<uint64_t>(n);
  }
  return sha.FinishHex();
}

}  // namespace atelier::convert
