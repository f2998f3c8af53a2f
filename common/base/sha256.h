// SHA-256 (FIPS 180-4) over OpenSSL. A digest is written as 64 lower-case hex characters
// everywhere.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace atelier {

// Incremental. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view bytes);
  // Hex digest of everything so far; call once.
  std::string FinishHex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256Hex(std::string_view bytes);

// True for exactly 64 characters of [0-9a-f].
bool IsSha256Hex(std::string_view text);

}  // namespace atelier
