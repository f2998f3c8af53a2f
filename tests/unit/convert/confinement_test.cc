// What a hostile file might make the converter do, tried in confined processes; and what the real
// converter does in its confinement.
#include "services/cli/convert/confinement.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <seccomp.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/nn/graph.h"
#include "common/nn/safetensors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/convert/writers.h"

extern char** environ;

namespace atelier::convert {
namespace {

namespace fs = std::filesystem;
using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Exit code, or minus the signal.
int EndOf(pid_t child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// What becomes of `attempt` in a confined process of its own: its errno, 0 when it succeeds, minus
// the signal that ends it.
constexpr int kNotConfined = 255;
int Confined(const std::vector<fs::path>& writable, const std::function<bool()>& attempt) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_DUMPABLE, 0);  // no core file of an abort
    if (!Confine(writable).ok()) ::_exit(kNotConfined);
    errno = 0;
    ::_exit(attempt() ? 0 : errno);
  }
  return EndOf(child);
}

class ConfinementTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kConfines) GTEST_SKIP() << "the sanitizers need what it forbids";
  }
};

TEST_F(ConfinementTest, NoProgramProcessThreadSocketOrForeignMemoryIsToBeHad) {
  struct Attempt {
    const char* what;
    std::function<bool()> succeeds;
  };
  const std::vector<Attempt> attempts = {
      {"exec", [] { return ::execl("/bin/true", "true", static_cast<char*>(nullptr)) == 0; }},
      {"fork",
       [] {
         const pid_t child = ::fork();
         if (child == 0) ::_exit(0);
         return child > 0;
       }},
      {"posix_spawn",
       [] {
         char name[] = "true";
         char* argv[] = {name, nullptr};
         pid_t child = 0;
         errno = ::posix_spawn(&child, "/bin/true", nullptr, nullptr, argv, environ);
         return errno == 0;
       }},
      {"thread",
       [] {
         pthread_t thread{};
         errno =
             ::pthread_create(&thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr);
         return errno == 0;
       }},
      {"internet socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0; }},
      {"local socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }},
      {"pair of sockets",
       [] {
         int ends[2];
         return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0;
       }},
      {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }},
      {"writing another's memory",
       [] {
         return ::syscall(SYS_process_vm_writev, ::getppid(), nullptr, 0, nullptr, 0, 0) == 0;
       }},
      {"kill", [] { return ::kill(::getppid(), 0) == 0; }},
      {"tgkill", [] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0) == 0; }},
      {"io_uring", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr) >= 0; }},
      {"openat2", [] { return ::syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0) >= 0; }},
      {"memory that is code",
       [] {
         return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                MAP_FAILED;
       }},
      {"memory that becomes code",
       [] {
         void* page =
             ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
       }},
      {"typing into the terminal",
       [] {
         char key = 'x';
         return ::ioctl(STDIN_FILENO, TIOCSTI, &key) == 0;
       }},
      {"another limit",
       [] {
         rlimit limit{};
         return ::getrlimit(RLIMIT_CPU, &limit) == 0 && ::setrlimit(RLIMIT_CPU, &limit) == 0;
       }},
  };
  for (const Attempt& attempt : attempts) {
    EXPECT_EQ(Confined({}, attempt.succeeds), ENOSYS) << attempt.what;
  }
}

TEST_F(ConfinementTest, MemoryAndEndsAreAsUsual) {
  EXPECT_EQ(Confined({}, [] { return std::vector<char>(64 << 20, 'x').back() == 'x'; }), 0);
  EXPECT_EQ(Confined({}, []() -> bool { std::abort(); }), -SIGABRT);
}

TEST_F(ConfinementTest, ConfiningTwiceIsAnError) {
  EXPECT_EQ(
      Confined({}, [] { return Confine({}).code() == absl::StatusCode::kFailedPrecondition; }), 0);
}

TEST_F(ConfinementTest, FilesAreWrittenInTheGivenFoldersAlone) {
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  const TempDir given;
  const TempDir other;
  const fs::path ours = given.path() / "file";
  const fs::path theirs = other.path() / "file";
  for (const fs::path& file : {ours, theirs}) ASSERT_THAT(WriteFileAtomically(file, "old"), IsOk());
  const auto trying = [&](const std::function<bool()>& attempt) {
    return Confined({given.path(), "/nonexistent"}, attempt);
  };
  const auto opening = [&](const fs::path& path, int flags) {
    return trying([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0600) >= 0; });
  };
  EXPECT_EQ(opening(ours, O_RDWR | O_TRUNC), 0);
  EXPECT_EQ(opening(given.path() / "new", O_WRONLY | O_CREAT | O_EXCL), 0);
  EXPECT_EQ(trying([&] { return ::rename((given.path() / "new").c_str(), ours.c_str()) == 0; }), 0);
  EXPECT_EQ(trying([&] { return ::unlink(ours.c_str()) == 0; }), 0);
  EXPECT_FALSE(fs::exists(ours));

  EXPECT_EQ(opening(theirs, O_RDONLY), 0);
  EXPECT_EQ(opening(theirs, O_WRONLY), EACCES);
  EXPECT_EQ(opening(theirs, O_RDWR | O_TRUNC), EACCES);
  EXPECT_EQ(opening(theirs, O_RDONLY | O_TRUNC), ENOSYS);
  EXPECT_EQ(opening(other.path() / "new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(trying([&] { return ::unlink(theirs.c_str()) == 0; }), EACCES);
  EXPECT_EQ(trying([&] { return ::truncate(theirs.c_str(), 0) == 0; }), ENOSYS);
  EXPECT_EQ(trying([&] { return ::chmod(theirs.c_str(), 0777) == 0; }), ENOSYS);
  EXPECT_NE(trying([&] { return ::rename(theirs.c_str(), ours.c_str()) == 0; }), 0);
  EXPECT_THAT(ReadFile(theirs), IsOkAndHolds("old"));
}

// As a kernel without seccomp, or a container that forbids it, for the process and what it starts.
void ForbidFilters() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  const scmp_arg_cmp setting{0, SCMP_CMP_EQ, PR_SET_SECCOMP, 0};
  if (filter == nullptr ||
      seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &setting) != 0 ||
      seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0, nullptr) != 0 ||
      seccomp_load(filter) != 0) {
    ::_exit(kNotConfined);
  }
  seccomp_release(filter);
}

class ConverterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("ATELIER_BIN_DIR");
    binary_ = fs::path(folder == nullptr ? "build/bin" : folder) / "atelier-convert";
    if (!fs::exists(binary_)) GTEST_SKIP() << "atelier-convert is not built";
  }

  struct Ended {
    int code = 0;
    std::string out;
    std::string err;
  };
  // `before` runs in the new process, before the program.
  Ended Run(std::vector<std::string> arguments, const std::function<void()>& before = {}) {
    const fs::path out = dir_.path() / "out";
    const fs::path err = dir_.path() / "err";
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), STDOUT_FILENO);
      ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), STDERR_FILENO);
      if (before) before();
      Execute(std::move(arguments));
    }
    Ended ended;
    ended.code = EndOf(child);
    ended.out = ReadFile(out).value_or("");
    ended.err = ReadFile(err).value_or("");
    return ended;
  }
  [[noreturn]] void Execute(std::vector<std::string> arguments) const {
    std::string name = binary_.string();
    std::vector<char*> argv = {name.data()};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(name.c_str(), argv.data());
    ::_exit(kNotConfined);
  }
  void ExpectDone(const std::vector<std::string>& arguments, const std::string& temporary) {
    const Ended ended =
        Run(arguments, [&] { ::setenv("TMPDIR", temporary.c_str(), /*overwrite=*/1); });
    EXPECT_EQ(ended.code, 0) << arguments[0] << ": " << ended.err;
    EXPECT_THAT(ended.err, IsEmpty());
  }

  fs::path binary_;
  TempDir dir_;
  const nn::Graph graph_ = *nn::BuildBackboneGraph("tiny_cnn");
};

TEST_F(ConverterTest, IsConfinedWhileItLists) {
  if (!kConfines) GTEST_SKIP() << "the sanitizers need what it forbids";
  // More names than a pipe holds: the converter waits for its reader.
  std::map<std::string, nn::TensorView> views;
  const std::string value(sizeof(float), '\0');
  for (int i = 0; i < 2'000; ++i) {
    views[std::string(60, 'x') + std::to_string(i)] = {nn::DType::kF32, {1}, value};
  }
  const fs::path file = dir_.path() / "many.safetensors";
  ASSERT_THAT(WriteFileAtomically(file, nn::SerializeSafetensors(views)), IsOk());
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    Execute({"--list", file.string()});
  }
  ::close(ends[1]);
  char first = 0;
  EXPECT_EQ(::read(ends[0], &first, 1), 1);
  std::ifstream state_file("/proc/" + std::to_string(child) + "/status");
  const std::string state{std::istreambuf_iterator<char>(state_file),
                          std::istreambuf_iterator<char>()};
  ::close(ends[0]);
  EXPECT_EQ(EndOf(child), -SIGPIPE);
  EXPECT_THAT(state, AllOf(HasSubstr("Seccomp:\t2"), HasSubstr("NoNewPrivs:\t1")));
}

TEST_F(ConverterTest, ReadsNothingWhereItCannotBeConfinedUnlessTold) {
  if (!kConfines) GTEST_SKIP() << "the sanitizers need what it forbids";
  const fs::path file = dir_.path() / "w.pth";
  ASSERT_THAT(WriteFileAtomically(file, LegacyTorchFile(TorchTensors(graph_))), IsOk());
  const Ended refused = Run({"--list", file.string()}, ForbidFilters);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("seccomp"), HasSubstr("ATELIER_CONVERT_UNCONFINED=1")));
  EXPECT_THAT(refused.out, IsEmpty());
  const Ended told = Run({"--list", file.string()}, [] {
    ForbidFilters();
    ::setenv("ATELIER_CONVERT_UNCONFINED", "1", /*overwrite=*/1);
  });
  EXPECT_EQ(told.code, 0);
  EXPECT_THAT(told.err, HasSubstr("warning"));
  EXPECT_THAT(told.out, Not(IsEmpty()));
}

TEST_F(ConverterTest, ReadsAndWritesEveryFormatInItsConfinement) {
  const TempDir temporary;
  const TempDir written;
  const fs::path in = dir_.path();
  WriteLegacyH5(in / "legacy.h5", PatternLayers(graph_, true));
  WriteKeras3H5(in / "keras3.h5", {{"layers", PatternLayers(graph_, true)}});
  ASSERT_OK_AND_ASSIGN(const std::string h5, ReadFile(in / "keras3.h5"));
  WriteZip(in / "model.keras", {{"model.weights.h5", h5}}, /*store=*/true);
  const std::string torch = LegacyTorchFile(TorchTensors(graph_));
  ASSERT_THAT(WriteFileAtomically(in / "legacy.pth", torch), IsOk());
  WriteTorchZip(in / "zip.pth", TorchTensors(graph_));
  WriteZip(in / "package.whl", {{"models/w.pth", torch}});
  const auto convert = [&](const fs::path& source, std::vector<std::string> more = {}) {
    more.insert(more.begin(), source.string());
    std::vector<std::string> list = more;
    list.push_back("--list");
    ExpectDone(list, temporary.path().string());
    const fs::path output = written.path() / (source.filename().string() + ".safetensors");
    more.insert(more.end(), {"--output", output.string(), "--json"});
    ExpectDone(more, temporary.path().string());
    EXPECT_TRUE(fs::exists(output)) << output;
    return output;
  };
  for (const char* name : {"legacy.h5", "keras3.h5", "model.keras", "zip.pth"}) convert(in / name);
  convert(in / "package.whl", {"--member", "models/w.pth"});
  const fs::path own = convert(in / "legacy.pth");
  convert(own);
  for (const char* name : {"own.weights.h5", "own.keras"}) {
    const fs::path exported = written.path() / name;
    ExpectDone(
        {own.string(), "--to-keras", "--backbone", "tiny_cnn", "--output", exported.string()},
        temporary.path().string());
    convert(exported);
  }
  EXPECT_TRUE(fs::is_empty(temporary.path()));
}

}  // namespace
}  // namespace atelier::convert
