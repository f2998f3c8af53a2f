#include "services/trainer/epoch_log.h"

#include <gtest/gtest.h>

#include <limits>

namespace atelier::trainer {
namespace {

// 2021-02-03 08:04:05 UTC.
const auto kNow = std::chrono::system_clock::from_time_t(1612339445);

TEST(EpochLog, IsTheNotebooksTextInKst) {
  EXPECT_EQ(EpochBegins(0, kNow, "Asia/Seoul"), "* [Epoch 1] begins at 17:04:05");
  EXPECT_EQ(EpochEnds(0, kNow, "Asia/Seoul", 0.91234, 0.9),
            "* [Epoch 1] ends at 17:04:05 | acc=0.9123, val_acc=0.9000");
}

TEST(EpochLog, TheTimeZoneIsASettingAndAnUnknownOneIsUtc) {
  EXPECT_EQ(EpochBegins(4, kNow, "Europe/Berlin"), "* [Epoch 5] begins at 09:04:05");
  EXPECT_EQ(EpochBegins(4, kNow, "Nowhere/At_All"), "* [Epoch 5] begins at 08:04:05");
}

TEST(EpochLog, WithoutValidationThereIsNoValAcc) {
  EXPECT_EQ(EpochEnds(1, kNow, "UTC", 0.5, std::numeric_limits<double>::quiet_NaN()),
            "* [Epoch 2] ends at 08:04:05 | acc=0.5000");
}

}  // namespace
}  // namespace atelier::trainer
