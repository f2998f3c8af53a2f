#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifacts/artifact_store.h"
#include "common/base/files.h"
#include "common/base/logging.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/concurrency/mutex.h"

namespace atelier::artifacts {
namespace {

namespace fs = std::filesystem;

absl::Status Damaged(const std::string& digest) {
  return absl::DataLossError(absl::StrCat("the stored bytes of artifact ", digest, " are damaged"));
}

fs::path DamagedPath(const fs::path& path) { return path.string() + ".damaged"; }

// What changes a name of a shard, one change at a time: nobody is told that an artifact is stored
// whose name another upload of it is still making durable, and may have to take back. Thread-safe.
class Names {
 public:
  // Gives a synced file its name. OK: the name is durable. Else nothing is there that was not there
  // before.
  absl::Status Publish(AtomicFileWriter& file, const fs::path& path) {
    MutexLock lock(mutex_);
    std::error_code ignored;
    const bool there = fs::exists(path, ignored);
    const absl::Status committed = file.Commit();
    if (committed.ok()) {
      durable_ = true;
      fs::remove(DamagedPath(path), ignored);
      return committed;
    }
    // What was there before may have been acknowledged, in whichever of two equal files it is.
    if (!there) fs::remove(path, ignored);
    durable_ = false;
    return committed;
  }

  // OK: counts as stored now, and its name is durable.
  absl::Status Touch(const std::string& digest, const fs::path& path) {
    MutexLock lock(mutex_);
    if (::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return absl::NotFoundError("no artifact " + digest);
      return absl::UnavailableError(
          absl::StrCat("cannot keep artifact ", digest, ": ", std::strerror(errno)));
    }
    // A process before this one may have ended between the rename and the folder's sync.
    if (durable_) return absl::OkStatus();
    ATELIER_RETURN_IF_ERROR(SyncDirectory(path.parent_path()));
    durable_ = true;
    return absl::OkStatus();
  }

  // Moves a damaged file out of the way, unless good bytes were stored under its name meanwhile.
  void SetAside(int fd, const fs::path& path) {
    MutexLock lock(mutex_);
    struct stat opened{};
    struct stat there{};
    if (::fstat(fd, &opened) != 0 || ::lstat(path.c_str(), &there) != 0) return;
    if (opened.st_dev != there.st_dev || opened.st_ino != there.st_ino) return;
    const fs::path aside = DamagedPath(path);
    if (::rename(path.c_str(), aside.c_str()) == 0) {
      LogError("set aside %s: its bytes are not those of its digest", aside.filename().string());
    }
  }

  absl::Status Remove(const std::string& digest, const fs::path& path) {
    MutexLock lock(mutex_);
    std::error_code error;
    fs::remove(DamagedPath(path), error);
    fs::remove(path, error);
    if (error) return absl::UnavailableError("cannot delete artifact " + digest);
    return absl::OkStatus();
  }

 private:
  Mutex mutex_;
  bool durable_ ABSL_GUARDED_BY(mutex_) = false;  // every name there is
};

// One for each two hexadecimal digits that a digest may begin with: a removal seldom waits for
// another artifact's sync.
using Shards = std::array<Names, 256>;

// What AtomicFileWriter calls the file of an artifact until it is committed.
bool IsUnfinished(const std::string& name) {
  constexpr size_t kDigest = 64;
  return name.size() > kDigest && IsSha256Hex(name.substr(0, kDigest)) &&
         std::string_view(name).substr(kDigest).starts_with(".tmp.");
}

class Writer final : public ArtifactWriter {
 public:
  Writer(std::shared_ptr<Names> names, std::unique_ptr<AtomicFileWriter> file, fs::path path,
         std::string digest, int64_t size)
      : names_(std::move(names)),
        file_(std::move(file)),
        path_(std::move(path)),
        digest_(std::move(digest)),
        size_(size) {}

  absl::Status Append(std::string_view bytes) override {
    written_ += static_cast<int64_t>(bytes.size());
    if (written_ > size_) {
      return absl::InvalidArgumentError(absl::StrCat("more than the announced ", size_, " bytes"));
    }
    hash_.Update(bytes);
    return file_->Append(bytes);
  }

  absl::Status Commit() override {
    if (written_ != size_ || hash_.FinishHex() != digest_) {
      return absl::InvalidArgumentError("the bytes sent are not those of the announced digest");
    }
    // The slow part, beside other uploads.
    ATELIER_RETURN_IF_ERROR(file_->Sync());
    return names_->Publish(*file_, path_);
  }

 private:
  const std::shared_ptr<Names> names_;
  std::unique_ptr<AtomicFileWriter> file_;
  const fs::path path_;
  const std::string digest_;
  const int64_t size_;
  int64_t written_ = 0;
  Sha256 hash_;
};

class Reader final : public ArtifactReader {
 public:
  Reader(std::shared_ptr<Names> names, int fd, int64_t size, fs::path path, std::string digest,
         bool from_start)
      : names_(std::move(names)),
        fd_(fd),
        size_(size),
        path_(std::move(path)),
        digest_(std::move(digest)) {
    if (from_start) hash_.emplace();
  }
  ~Reader() override { ::close(fd_); }

  int64_t size() const override { return size_; }

  absl::StatusOr<std::string> Read(size_t max_bytes) override {
    std::string piece(max_bytes, '\0');
    size_t done = 0;
    while (done < max_bytes) {
      const ssize_t n = ::read(fd_, piece.data() + done, max_bytes - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Damaged(digest_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    piece.resize(done);
    if (hash_.has_value()) {
      hash_->Update(piece);
      if (done < max_bytes) {
        const bool intact = hash_->FinishHex() == digest_;
        hash_.reset();
        if (!intact) {
          names_->SetAside(fd_, path_);
          return Damaged(digest_);
        }
      }
    }
    return piece;
  }

 private:
  const std::shared_ptr<Names> names_;
  const int fd_;
  const int64_t size_;
  const fs::path path_;
  const std::string digest_;
  std::optional<Sha256> hash_;
};

// Only what says something of the file itself is damage: a process without free descriptors must
// not lose its checkpoints.
absl::Status NotOpened(const std::string& digest, const fs::path& path, int error) {
  std::error_code ignored;
  switch (error) {
    case ENOENT:
      if (fs::exists(DamagedPath(path), ignored)) return Damaged(digest);
      return absl::NotFoundError("no artifact " + digest);
    case ELOOP:  // O_NOFOLLOW
    case EIO:
      return Damaged(digest);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat("cannot open artifact ", digest, ": ", std::strerror(error),
                       "; give the store's files to the user of this process"));
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot open artifact ", digest, " now: ", std::strerror(error)));
    default:
      return absl::UnavailableError(
          absl::StrCat("cannot open artifact ", digest, ": ", std::strerror(error)));
  }
}

class DirectoryStore final : public ArtifactStore {
 public:
  explicit DirectoryStore(fs::path dir) : dir_(std::move(dir)) {}

  absl::StatusOr<std::unique_ptr<ArtifactWriter>> Create(const std::string& digest,
                                                         int64_t size) override {
    ATELIER_RETURN_IF_ERROR(CheckAnnounced(digest, size));
    const fs::path path = PathOf(digest);
    ATELIER_RETURN_IF_ERROR(MakeShard(path.parent_path()));
    ATELIER_ASSIGN_OR_RETURN(auto file, AtomicFileWriter::Create(path));
    return std::make_unique<Writer>(NamesOf(digest), std::move(file), path, digest, size);
  }

  absl::StatusOr<std::unique_ptr<ArtifactReader>> Open(const std::string& digest,
                                                       int64_t offset) override {
    ATELIER_RETURN_IF_ERROR(CheckDigest(digest));
    const fs::path path = PathOf(digest);
    // A link planted in the store must not lead out of it.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return NotOpened(digest, path, errno);
    struct stat info{};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      return Damaged(digest);
    }
    if (offset < 0 || offset > info.st_size || ::lseek(fd, offset, SEEK_SET) < 0) {
      ::close(fd);
      return absl::InvalidArgumentError("offset is outside the artifact");
    }
    return std::make_unique<Reader>(NamesOf(digest), fd, info.st_size, path, digest, offset == 0);
  }

  absl::StatusOr<int64_t> Size(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(CheckDigest(digest));
    struct stat info{};
    if (::lstat(PathOf(digest).c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return absl::NotFoundError("no artifact " + digest);
    }
    return static_cast<int64_t>(info.st_size);
  }

  absl::Status Touch(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(Size(digest));
    return NamesOf(digest)->Touch(digest, PathOf(digest));
  }

  absl::Status Delete(const std::string& digest) override {
    ATELIER_RETURN_IF_ERROR(CheckDigest(digest));
    return NamesOf(digest)->Remove(digest, PathOf(digest));
  }

  absl::StatusOr<std::vector<StoredArtifact>> List() override {
    std::vector<StoredArtifact> artifacts;
    ATELIER_RETURN_IF_ERROR(ForEachFile([&](const fs::path& path) {
      const std::string name = path.filename().string();
      struct stat info{};
      if (!IsSha256Hex(name) || ::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
      const auto stored = std::chrono::seconds(info.st_mtim.tv_sec) +
                          std::chrono::nanoseconds(info.st_mtim.tv_nsec);
      artifacts.push_back({name, info.st_size, std::chrono::system_clock::time_point(stored)});
    }));
    std::ranges::sort(artifacts, {}, &StoredArtifact::digest);
    return artifacts;
  }

  absl::StatusOr<int> RemoveUnfinished() override {
    std::vector<fs::path> unfinished;
    ATELIER_RETURN_IF_ERROR(ForEachFile([&](const fs::path& path) {
      if (IsUnfinished(path.filename().string())) unfinished.push_back(path);
    }));
    for (const fs::path& path : unfinished) {
      if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return absl::UnavailableError("cannot delete an unfinished upload");
      }
    }
    return static_cast<int>(unfinished.size());
  }

 private:
  // OK: the shard is there and its name durable. One at a time, so that nobody stores into a shard
  // whose maker has yet to sync its name.
  absl::Status MakeShard(const fs::path& shard) {
    MutexLock lock(shards_mutex_);
    if (!old_shards_durable_) {
      // A process before this one may have ended between the two.
      ATELIER_RETURN_IF_ERROR(SyncDirectory(dir_));
      old_shards_durable_ = true;
    }
    return MakeDirectories(shard);
  }

  absl::Status ForEachFile(const std::function<void(const fs::path&)>& visit) const {
    std::error_code error;
    for (fs::recursive_directory_iterator it(dir_, error), end; !error && it != end;
         it.increment(error)) {
      visit(it->path());
    }
    return error ? absl::UnavailableError("cannot list the artifact store") : absl::OkStatus();
  }

  std::shared_ptr<Names> NamesOf(const std::string& digest) const {
    return {shards_, &(*shards_)[std::stoul(digest.substr(0, 2), nullptr, 16)]};
  }
  fs::path PathOf(const std::string& digest) const { return dir_ / digest.substr(0, 2) / digest; }

  const fs::path dir_;
  // Shared with readers and writers, which may outlive the store.
  const std::shared_ptr<Shards> shards_ = std::make_shared<Shards>();
  Mutex shards_mutex_;
  bool old_shards_durable_ ABSL_GUARDED_BY(shards_mutex_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenDirectoryStore(const fs::path& dir) {
  ATELIER_RETURN_IF_ERROR(MakeDirectories(dir));
  return std::make_unique<DirectoryStore>(dir);
}

}  // namespace atelier::artifacts
