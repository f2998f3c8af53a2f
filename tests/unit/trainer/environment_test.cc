#include "services/trainer/environment.h"

#include <gmock/gmock.h>

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

TEST(Differences, NamesEachFieldThatDiffers) {
  v1::NumericEnvironment stored;
  stored.set_build("b");
  stored.set_device("cpu");
  stored.set_threads(2);
  EXPECT_THAT(Differences(stored, stored), ::testing::IsEmpty());
  v1::NumericEnvironment here = stored;
  here.set_build("c");
  here.set_isa("avx2");
  here.set_threads(4);
  EXPECT_THAT(Differences(stored, here), ::testing::ElementsAre("build", "isa", "threads"));
}

}  // namespace
}  // namespace atelier::trainer
