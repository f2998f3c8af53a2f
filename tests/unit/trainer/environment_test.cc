#include "services/trainer/environment.h"

#include <gtest/gtest.h>

namespace atelier::trainer {
namespace {

TEST(DescribeDevice, TellsTheProcessorAndTheMachinesMemory) {
  const v1::Device device = DescribeDevice("cpu", 3);
  EXPECT_EQ(device.name(), "cpu");
  EXPECT_FALSE(device.model().empty());
  EXPECT_GT(device.memory_bytes(), 0);
  EXPECT_EQ(device.threads(), 3);
}

TEST(DescribeDevice, SaysNothingOfAGpuThatItDoesNotKnow) {
  const v1::Device device = DescribeDevice("cuda:0", 3);
  EXPECT_EQ(device.name(), "cuda:0");
  EXPECT_EQ(device.model(), "");
  EXPECT_EQ(device.memory_bytes(), 0);
}

}  // namespace
}  // namespace atelier::trainer
