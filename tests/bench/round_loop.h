// The protocol between bench.py and an engine: the engine prints "ready", then measures one round
// for each line "go" and prints its value. Engines wait in a read while others have the machine.
#pragma once

#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>

namespace atelier::bench {

// `round` returns one line: a number, or a JSON object.
inline int AnswerRounds(const std::function<std::string()>& round) {
  std::printf("ready\n");
  std::fflush(stdout);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::printf("%s\n", round().c_str());
    std::fflush(stdout);
  }
  return 0;
}

inline double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

}  // namespace atelier::bench
