// What gRPC does with a channel that begins while the last other one of its identity goes. The gap
// in which that goes wrong (tls.cc, StayingUser) is some nanoseconds wide; here it is held open.
#include <absl/synchronization/mutex.h>
#include <dlfcn.h>
#include <elf.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <link.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <semaphore>
#include <thread>

#include "common/rpc/server.h"
#include "tests/unit/rpc/tls_folder.h"

namespace atelier::rpc {
namespace {

using ::atelier::testing::TestAuthority;

// What gRPC calls when a user of certificates goes. First it takes him off its list, under one
// lock, then it tells the provider, under another one.
constexpr char kUserGoes[] =
    "_ZN32grpc_tls_certificate_distributor26CancelTlsCertificatesWatchE"
    "PNS_31TlsCertificatesWatcherInterfaceE";

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// Where a library's function lies; empty when there is none of that name.
Range RangeOf(const char* function) {
  void* const begin = ::dlsym(RTLD_DEFAULT, function);
  Dl_info info{};
  void* extra = nullptr;
  if (begin == nullptr || ::dladdr1(begin, &info, &extra, RTLD_DL_SYMENT) == 0) return {};
  const auto at = reinterpret_cast<uintptr_t>(begin);
  return {at, at + static_cast<const ElfW(Sym)*>(extra)->st_size};
}

[[gnu::noinline]] void* AddressOfCaller() { return __builtin_return_address(0); }

constexpr std::chrono::seconds kPatience{10};

std::atomic<bool> armed{false};  // the next one who goes is held in the gap
std::binary_semaphore in_gap{0};
std::binary_semaphore leave_gap{0};
thread_local int locks_taken = 0;  // by kUserGoes, two a call

}  // namespace
}  // namespace atelier::rpc

// In place of Abseil's, for the whole process.
void absl::Mutex::Lock() {
  using Function = void (*)(absl::Mutex*);
  static const auto usual = [] {
    Dl_info own{};
    ::dladdr(atelier::rpc::AddressOfCaller(), &own);
    return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, own.dli_sname));
  }();
  static const atelier::rpc::Range goes = atelier::rpc::RangeOf(atelier::rpc::kUserGoes);
  const auto caller = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  if (caller > goes.begin && caller < goes.end && ++atelier::rpc::locks_taken % 2 == 0 &&
      atelier::rpc::armed.exchange(false)) {
    atelier::rpc::in_gap.release();
    (void)atelier::rpc::leave_gap.try_acquire_for(atelier::rpc::kPatience);
  }
  usual(this);
}

namespace atelier::rpc {
namespace {

// Over a connection of its own.
std::shared_ptr<grpc::Channel> Connect(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, credentials, own);
}

bool IsConnected(grpc::Channel& channel) {
  return channel.WaitForConnected(std::chrono::system_clock::now() + kPatience);
}

TEST(TlsLastUser, AChannelThatBeginsWhileTheLastOtherOneGoesHasCertificates) {
  if (RangeOf(kUserGoes).begin == 0) GTEST_SKIP() << "this gRPC has no such function";
  TestAuthority authority("authority");
  const TlsFolder server_folder(authority);
  const TlsFolder client_folder(authority);
  ServerOptions options;
  options.tls = server_folder.Load();
  ASSERT_OK_AND_ASSIGN(const auto server, RpcServer::Start(options, {}));
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const auto identity = client_folder.Load();
  auto last = Connect(address, identity->ForChannel(PeerName::kChecked));
  ASSERT_TRUE(IsConnected(*last));
  armed = true;
  std::thread goes([&] { last.reset(); });
  EXPECT_TRUE(in_gap.try_acquire_for(kPatience));
  const auto next = Connect(address, identity->ForChannel(PeerName::kChecked));
  EXPECT_TRUE(IsConnected(*next));
  leave_gap.release();
  goes.join();
}

}  // namespace
}  // namespace atelier::rpc
