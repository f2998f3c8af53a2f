#include "services/trainer/epoch_log.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace atelier::trainer {
namespace {

std::string ClockTime(std::chrono::system_clock::time_point now, const std::string& name) {
  absl::TimeZone zone = absl::UTCTimeZone();
  absl::LoadTimeZone(name, &zone);  // leaves UTC when it is unknown
  return absl::FormatTime("%H:%M:%S", absl::FromChrono(now), zone);
}

}  // namespace

std::string EpochBegins(int epoch, std::chrono::system_clock::time_point now,
                        const std::string& time_zone) {
  return absl::StrCat("* [Epoch ", epoch + 1, "] begins at ", ClockTime(now, time_zone));
}

std::string EpochEnds(int epoch, std::chrono::system_clock::time_point now,
                      const std::string& time_zone, double accuracy, double val_accuracy) {
  std::string line = absl::StrFormat("* [Epoch %d] ends at %s | acc=%0.4f", epoch + 1,
                                     ClockTime(now, time_zone), accuracy);
  if (!std::isnan(val_accuracy)) absl::StrAppendFormat(&line, ", val_acc=%0.4f", val_accuracy);
  return line;
}

}  // namespace atelier::trainer
