#include "services/cli/weights/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace atelier::cli {
namespace {

constexpr size_t kMaxOutput = 16 << 20;
constexpr int kTickMilliseconds = 500;

struct Pipe {
  int read_end = -1;
  int write_end = -1;
  ~Pipe() {
    Close(&read_end);
    Close(&write_end);
  }
  static void Close(int* fd) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
  bool Open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    return true;
  }
};

// Reads what is there; closes the pipe at its end.
void Drain(Pipe* pipe, std::string* to) {
  char buffer[8192];
  const ssize_t n = ::read(pipe->read_end, buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return;
  if (n <= 0) {
    Pipe::Close(&pipe->read_end);
  } else if (to->size() + static_cast<size_t>(n) <= kMaxOutput) {
    to->append(buffer, static_cast<size_t>(n));
  }
}

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, const Pipe& out,
                            const Pipe& err) {
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end, 1);
  posix_spawn_file_actions_adddup2(&actions, err.write_end, 2);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, args[0], &actions, nullptr, args.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return pid;
  const std::string text = absl::StrCat("cannot start ", argv[0], ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(text) : absl::UnavailableError(text);
}

}  // namespace

absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         const std::function<void()>& tick) {
  Pipe out;
  Pipe err;
  if (!out.Open() || !err.Open()) {
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  const absl::StatusOr<pid_t> pid = Spawn(argv, out, err);
  if (!pid.ok()) return pid.status();
  Pipe::Close(&out.write_end);
  Pipe::Close(&err.write_end);
  ProcessResult result;
  while (out.read_end >= 0 || err.read_end >= 0) {
    pollfd fds[2] = {{out.read_end, POLLIN, 0}, {err.read_end, POLLIN, 0}};
    const int ready = ::poll(fds, 2, kTickMilliseconds);
    if (tick) tick();
    if (ready <= 0) continue;
    if (fds[0].revents != 0) Drain(&out, &result.out);
    if (fds[1].revents != 0) Drain(&err, &result.err);
  }
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

absl::StatusOr<std::filesystem::path> SiblingProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = self.parent_path() / name;
  if (!error && ::access(beside.c_str(), X_OK) == 0) return beside;
  return absl::FailedPreconditionError(
      absl::StrCat(name, " is not beside this program; build or install it there"));
}

}  // namespace atelier::cli
