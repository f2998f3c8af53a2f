// What the process logs.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "common/base/files.h"
#include "tests/testing/temp_dir.h"

namespace atelier::testing {

// Takes what is logged during the object's life.
class LogLines {
 public:
  LogLines() : file_((folder_.path() / "log").string()), kept_(::dup(STDERR_FILENO)) {
    const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    ::dup2(fd, STDERR_FILENO);
    ::close(fd);
  }
  ~LogLines() {
    if (kept_ < 0) return;
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  // How often `text` was logged so far.
  size_t Count(const std::string& text) const {
    const absl::StatusOr<std::string> all = ReadFile(file_);
    size_t count = 0;
    for (size_t at = 0; all.ok() && (at = all->find(text, at)) != std::string::npos; ++at) ++count;
    return count;
  }

 private:
  TempDir folder_;
  const std::string file_;
  const int kept_;
};

}  // namespace atelier::testing
