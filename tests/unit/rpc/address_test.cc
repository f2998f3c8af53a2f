#include "common/rpc/address.h"

#include <gtest/gtest.h>

namespace atelier::rpc {
namespace {

TEST(Address, HasAHost) {
  struct Case {
    const char* address;
    const char* host;
  };
  for (const auto& [address, host] : {
           Case{"localhost:7070", "localhost"},
           Case{"127.0.0.1:7070", "127.0.0.1"},
           Case{"https://localhost:7070", "localhost"},
           Case{"https://localhost", "localhost"},
           Case{"[::1]:7070", "[::1]"},
           Case{"https://[::1]:7070", "[::1]"},
           Case{"[::1]", "[::1]"},
           Case{"[2001:db8::7]", "[2001:db8::7]"},
           Case{"[::1", "[::1"},
           Case{"::1", "::1"},
           Case{"trainer", "trainer"},
           Case{"trainer:", "trainer"},
           Case{":7070", ""},
           Case{"", ""},
       }) {
    EXPECT_EQ(HostOf(address), host) << address;
  }
}

TEST(Address, IsLoopbackByNameAndNumberOnly) {
  for (const char* host : {"localhost", "127.0.0.1", "127.0.0.2", "127.1", "[::1]"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"127.example.org", "127.0.0.1.example.org", "localhost.example.org",
                           "127", "1127.0.0.1", "10.0.0.1", "0.0.0.0", "[::]", "[::1", ""}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(Address, WarnsOfAServiceThatOnlyItsOwnMachineReaches) {
  EXPECT_EQ(LoopbackWarning("127.0.0.1:7071", "127.0.0.1:7070", ""), "");
  EXPECT_EQ(LoopbackWarning("0.0.0.0:7071", "10.0.0.1:7070", ""), "");
  EXPECT_EQ(LoopbackWarning("127.0.0.1:7071", "10.0.0.1:7070", "10.0.0.2:7071"), "");
  const std::string warning = LoopbackWarning("127.0.0.1:7071", "10.0.0.1:7070", "");
  EXPECT_NE(warning.find("127.0.0.1:7071"), std::string::npos) << warning;
  EXPECT_NE(warning.find("--advertise"), std::string::npos) << warning;
}

}  // namespace
}  // namespace atelier::rpc
