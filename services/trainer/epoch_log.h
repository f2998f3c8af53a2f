// The notebook's two log lines of an epoch (PrintSystemLogPerEpoch).
#pragma once

#include <chrono>
#include <string>

namespace atelier::trainer {

// "* [Epoch 1] begins at 17:04:05"; `epoch` counts from 0, the line from 1. An unknown time zone is
// UTC.
std::string EpochBegins(int epoch, std::chrono::system_clock::time_point now,
                        const std::string& time_zone);
// "* [Epoch 1] ends at 17:06:07 | acc=0.9123, val_acc=0.9000"; without validation no val_acc.
std::string EpochEnds(int epoch, std::chrono::system_clock::time_point now,
                      const std::string& time_zone, double accuracy, double val_accuracy);

}  // namespace atelier::trainer
