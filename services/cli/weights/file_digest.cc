#include "services/cli/weights/file_digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 20;
constexpr uint64_t kMaxPinBytes = 4096;

absl::Status Differs(const UpstreamFile& file, const std::string& kind, const std::string& found,
                     const std::string& expected, const std::string& who) {
  return absl::DataLossError(absl::StrCat(file.file, " has ", kind, " ", found, ", ", who, " ",
                                          expected, "; it is damaged or another version"));
}

}  // namespace

absl::StatusOr<FileDigests> DigestsOf(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot open ", path.string(), ": ", std::strerror(errno)));
  }
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd,
                                                                [](const int* f) { ::close(*f); });
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> md5(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (EVP_DigestInit_ex(md5.get(), EVP_md5(), nullptr) != 1) {
    return absl::FailedPreconditionError("this machine's OpenSSL refuses MD5 (FIPS mode?)");
  }
  Sha256 sha256;
  FileDigests digests;
  std::vector<char> block(kBlock);
  for (;;) {
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::UnavailableError(
          absl::StrCat("reading ", path.string(), ": ", std::strerror(errno)));
    }
    if (n == 0) break;
    sha256.Update({block.data(), static_cast<size_t>(n)});
    EVP_DigestUpdate(md5.get(), block.data(), static_cast<size_t>(n));
    digests.bytes += static_cast<uint64_t>(n);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int length = 0;
  EVP_DigestFinal_ex(md5.get(), raw.data(), &length);
  digests.md5 =
      absl::BytesToHexString(std::string(reinterpret_cast<const char*>(raw.data()), length));
  digests.sha256 = sha256.FinishHex();
  return digests;
}

absl::StatusOr<std::string> CheckDigests(const UpstreamFile& file, const FileDigests& found,
                                         const std::string& pinned) {
  std::string by = "nothing";
  if (!pinned.empty()) {
    if (found.sha256 != pinned) {
      return Differs(file, "sha256", found.sha256, pinned, "an earlier verified download had");
    }
    by = "pinned sha256";
  }
  if (!file.sha256_prefix.empty()) {
    if (!absl::StartsWith(found.sha256, file.sha256_prefix)) {
      return Differs(file, "sha256", found.sha256, file.sha256_prefix + "…", "published is");
    }
    by = absl::StrCat("first ", file.sha256_prefix.size(), " digits of sha256");
  }
  if (!file.md5.empty()) {
    if (found.md5 != file.md5) return Differs(file, "md5", found.md5, file.md5, "published is");
    by = "md5";
  }
  if (!file.sha256.empty()) {
    if (found.sha256 != file.sha256) {
      return Differs(file, "sha256", found.sha256, file.sha256, "the catalogue says");
    }
    by = "sha256";
  }
  return by;
}

std::string ReadPin(const fs::path& folder, const std::string& file) {
  const auto text = ReadFile(folder / (file + ".sha256"), kMaxPinBytes);
  if (!text.ok()) return "";
  const std::string digest = text->substr(0, text->find(' '));
  return IsSha256Hex(digest) ? digest : "";
}

absl::Status WritePin(const fs::path& folder, const std::string& file, const std::string& sha256) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(folder));
  return WriteFileAtomically(folder / (file + ".sha256"), absl::StrCat(sha256, "  ", file, "\n"));
}

}  // namespace atelier::cli
