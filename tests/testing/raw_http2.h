// An HTTP/2 client's side of a TCP connection, frame by frame (RFC 9113, RFC 7541): for what no
// well-behaved library sends.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace atelier::testing {

enum class Http2Frame : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
};

inline constexpr uint8_t kEndStream = 1;
inline constexpr uint8_t kEndHeaders = 4;

// Loopback, blocking. Not thread-safe.
class RawHttp2 {
 public:
  explicit RawHttp2(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        fd_ >= 0 && ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawHttp2() { ::close(fd_); }
  RawHttp2(const RawHttp2&) = delete;
  RawHttp2& operator=(const RawHttp2&) = delete;

  bool connected() const { return connected_; }
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Preface and empty settings: from here on the server believes in a client.
  bool Greet() {
    return Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") && Send(Frame(Http2Frame::kSettings, 0, 0, ""));
  }
  // The begin of a gRPC call without a deadline; odd stream numbers, growing.
  bool BeginCall(uint32_t stream, const std::string& path) {
    std::string block;
    for (const auto& [name, value] : {std::pair<std::string, std::string>{":method", "POST"},
                                      {":scheme", "http"},
                                      {":path", path},
                                      {":authority", "localhost"},
                                      {"te", "trailers"},
                                      {"content-type", "application/grpc"}}) {
      block += '\0';  // literal, not indexed, new name
      block += static_cast<char>(name.size());
      block += name;
      block += static_cast<char>(value.size());  // below 127, not Huffman-coded
      block += value;
    }
    return Send(Frame(Http2Frame::kHeaders, kEndHeaders, stream, block));
  }
  bool SendData(uint32_t stream, std::string_view bytes, bool last = false) {
    return Send(Frame(Http2Frame::kData, last ? kEndStream : 0, stream, bytes));
  }
  bool Ping() { return Send(Frame(Http2Frame::kPing, 0, 0, "12345678")); }

  // Reads, and answers nothing, until the server closes (true) or the time is over (false).
  bool ReadUntilClosed(std::chrono::milliseconds patience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      pollfd waiting = {fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0) {
        return false;
      }
      char buffer[16384];
      const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0) return true;
      received_.append(buffer, static_cast<size_t>(got));
    }
  }
  // How many frames of a type were read.
  int Received(Http2Frame type) const {
    int count = 0;
    for (std::string_view rest = received_; rest.size() >= kHeader;) {
      const size_t length = static_cast<uint8_t>(rest[0]) << 16 |
                            static_cast<uint8_t>(rest[1]) << 8 | static_cast<uint8_t>(rest[2]);
      count += static_cast<uint8_t>(rest[3]) == static_cast<uint8_t>(type);
      rest.remove_prefix(std::min(rest.size(), kHeader + length));
    }
    return count;
  }

  static std::string Frame(Http2Frame type, uint8_t flags, uint32_t stream,
                           std::string_view payload) {
    std::string frame;
    for (const int shift : {16, 8, 0}) frame += static_cast<char>(payload.size() >> shift);
    frame += static_cast<char>(type);
    frame += static_cast<char>(flags);
    for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
    return frame.append(payload);
  }
  // gRPC's prefix: not compressed, length.
  static std::string Message(std::string_view bytes) {
    std::string message(1, '\0');
    for (const int shift : {24, 16, 8, 0}) message += static_cast<char>(bytes.size() >> shift);
    return message.append(bytes);
  }

 private:
  static constexpr size_t kHeader = 9;
  const int fd_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace atelier::testing
