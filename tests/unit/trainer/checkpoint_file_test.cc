#include "services/trainer/checkpoint_file.h"

#include <gtest/gtest.h>

#include "tests/testing/status_matchers.h"

namespace atelier::trainer {
namespace {

Checkpoint Sample() {
  Checkpoint checkpoint;
  checkpoint.manifest.set_member("xception");
  checkpoint.manifest.mutable_cursor()->set_epoch(2);
  checkpoint.manifest.mutable_cursor()->set_step(7);
  checkpoint.tensors["model/backbone/w"] = torch::arange(12, torch::kFloat).reshape({3, 4});
  checkpoint.tensors["adam_m/backbone/w"] = torch::ones({3, 4});
  return checkpoint;
}

TEST(CheckpointFile, RoundTrips) {
  ASSERT_OK_AND_ASSIGN(const Checkpoint back, ParseCheckpoint(SerializeCheckpoint(Sample())));
  EXPECT_EQ(back.manifest.member(), "xception");
  EXPECT_EQ(back.manifest.cursor().step(), 7);
  ASSERT_EQ(back.tensors.size(), 2U);
  EXPECT_TRUE(at::equal(back.tensors.at("model/backbone/w"), Sample().tensors["model/backbone/w"]));
}

TEST(CheckpointFile, EqualStatesGiveEqualBytes) {
  EXPECT_EQ(SerializeCheckpoint(Sample()), SerializeCheckpoint(Sample()));
}

TEST(CheckpointFile, ACutFileIsDataLoss) {
  const std::string bytes = SerializeCheckpoint(Sample());
  for (size_t cut = 0; cut < bytes.size(); cut += 13) {
    EXPECT_THAT(ParseCheckpoint(std::string_view(bytes).substr(0, cut)),
                testing::StatusIs(absl::StatusCode::kDataLoss))
        << cut;
  }
}

TEST(CheckpointFile, AnotherFileIsDataLoss) {
  std::string bytes = SerializeCheckpoint(Sample());
  bytes[0] = 'X';
  EXPECT_THAT(ParseCheckpoint(bytes), testing::StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace atelier::trainer
