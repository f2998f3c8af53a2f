#include "common/vision/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <numeric>

#include "common/base/sha256.h"
#include "common/vision/augment.h"
#include "common/vision/cutmix.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

constexpr int kSize = 32;
constexpr size_t kPicture = kSize * kSize * 3;

class BatchTest : public ::testing::Test {
 protected:
  BatchTest() : samples_(10), classes_(10) {
    std::iota(samples_.begin(), samples_.end(), 0U);
    for (size_t i = 0; i < classes_.size(); ++i) classes_[i] = static_cast<int32_t>(i % 3);
    plan_.set_batch_size(4);
    plan_.set_seed(42);
    plan_.set_shuffle(true);
    plan_.set_subset(v1::TRAINING);
    plan_.mutable_image()->set_size(kSize);
  }

  LabelView labels() const { return {classes_, 3}; }
  EpochPlan Epoch(uint32_t epoch) const { return EpochPlan(samples_, plan_, epoch); }
  absl::StatusOr<AssembledBatch> Assemble(uint32_t epoch, int32_t step) {
    return AssembleBatch(plan_, Epoch(epoch), step, labels(), accessor_);
  }
  const uint8_t* Pixels(const AssembledBatch& batch, size_t place) const {
    return reinterpret_cast<const uint8_t*>(batch.pixels.data()) + place * kPicture;
  }

  std::vector<uint32_t> samples_;
  std::vector<int32_t> classes_;
  v1::DataPlan plan_;
  // Picture i has level 10 * i + 5 everywhere.
  SampleAccessor accessor_ = [](uint32_t sample) -> absl::StatusOr<std::shared_ptr<const Image>> {
    return std::make_shared<const Image>(SolidImage(kSize, static_cast<uint8_t>(10 * sample + 5)));
  };
};

TEST_F(BatchTest, PlainBatchHasThePicturesAndOneHotLabelsInOrder) {
  ASSERT_OK_AND_ASSIGN(const AssembledBatch batch, Assemble(0, 2));
  EXPECT_EQ(batch.size, 2);
  EXPECT_EQ(batch.height, kSize);
  EXPECT_EQ(batch.channels, 3);
  ASSERT_EQ(batch.pixels.size(), 2 * kPicture);
  const EpochPlan epoch_plan = Epoch(0);
  const auto ids = epoch_plan.Step(2);
  for (size_t place = 0; place < 2; ++place) {
    EXPECT_EQ(batch.sample_ids[place], ids[place]);
    EXPECT_EQ(Pixels(batch, place)[77], 10 * ids[place] + 5);
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_EQ(batch.labels[place * 3 + c], c == ids[place] % 3 ? 1.0F : 0.0F);
    }
  }
}

TEST_F(BatchTest, CutMixPastesThePartnerAtTheSamePlaceAndMixesTheLabel) {
  plan_.mutable_cutmix()->set_variant(v1::CutMixSpec::NOTEBOOK);
  for (int32_t step = 0; step < 3; ++step) {
    ASSERT_OK_AND_ASSIGN(const AssembledBatch batch, Assemble(1, step));
    for (size_t place = 0; place < static_cast<size_t>(batch.size); ++place) {
      const uint32_t own = batch.sample_ids[place];
      const EpochPlan epoch_plan = Epoch(1);
      const uint32_t partner = epoch_plan.Partners(step)[place];
      const CutMixDraw draw = DrawCutMix(plan_.cutmix(), kSize, kSize, 42, 1, own);
      for (int row = 0; row < kSize; ++row) {
        for (int col = 0; col < kSize; ++col) {
          const bool pasted = row >= draw.box.top && row < draw.box.top + draw.box.height &&
                              col >= draw.box.left && col < draw.box.left + draw.box.width;
          ASSERT_EQ(Pixels(batch, place)[(row * kSize + col) * 3 + 1],
                    10 * (pasted ? partner : own) + 5);
        }
      }
      std::vector<float> expected(3, 0.0F);
      expected[own % 3] = static_cast<float>(1 - draw.partner_weight);
      expected[partner % 3] += static_cast<float>(draw.partner_weight);
      for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(batch.labels[place * 3 + c], expected[c], 1e-6);
    }
  }
}

TEST_F(BatchTest, BytesAreAFunctionOfPlanEpochAndStep) {
  plan_.mutable_cutmix()->set_variant(v1::CutMixSpec::NOTEBOOK);
  v1::AugmentationSpec* spec = plan_.mutable_augmentation();
  spec->set_rotation_degrees(15);
  spec->set_zoom(0.2F);
  spec->set_horizontal_flip(true);
  spec->set_brightness_min(0.6F);
  spec->set_brightness_max(1.4F);
  accessor_ = [](uint32_t sample) -> absl::StatusOr<std::shared_ptr<const Image>> {
    return std::make_shared<const Image>(NoiseImage(kSize, kSize, 3, sample));
  };
  ASSERT_OK_AND_ASSIGN(const AssembledBatch first, Assemble(2, 1));
  ASSERT_OK_AND_ASSIGN(const AssembledBatch other_epoch, Assemble(3, 1));
  ASSERT_OK_AND_ASSIGN(const AssembledBatch again, Assemble(2, 1));
  EXPECT_EQ(first.pixels, again.pixels);
  EXPECT_EQ(first.labels, again.labels);
  EXPECT_NE(first.pixels, other_epoch.pixels);
  // Pinned: another build, another machine, another day must send these bytes.
  EXPECT_EQ(Sha256Hex(first.pixels),
            "35b2d87237af4ea8336298a1da4b18baf893821a196c48b615b932388d803f78");
}

TEST_F(BatchTest, SlotsOneByOneAreTheBatch) {
  plan_.mutable_cutmix()->set_variant(v1::CutMixSpec::TIMM);
  ASSERT_OK_AND_ASSIGN(const AssembledBatch batch, Assemble(0, 0));
  for (size_t place = 0; place < 4; ++place) {
    std::vector<uint8_t> pixels(kPicture);
    std::vector<float> label(3);
    ASSERT_TRUE(
        AssembleSlot(plan_, Epoch(0), 0, place, labels(), accessor_, pixels.data(), label.data())
            .ok());
    EXPECT_TRUE(std::equal(pixels.begin(), pixels.end(), Pixels(batch, place)));
    EXPECT_TRUE(std::equal(label.begin(), label.end(), batch.labels.begin() + place * 3));
  }
}

TEST_F(BatchTest, TestSamplesHaveNoLabels) {
  ASSERT_OK_AND_ASSIGN(const AssembledBatch batch,
                       AssembleBatch(plan_, Epoch(0), 0, LabelView{}, accessor_));
  EXPECT_TRUE(batch.labels.empty());
  EXPECT_EQ(batch.size, 4);
}

TEST_F(BatchTest, GreyPlansGiveOneChannel) {
  plan_.mutable_image()->set_channels(1);
  accessor_ = [](uint32_t) -> absl::StatusOr<std::shared_ptr<const Image>> {
    return std::make_shared<const Image>(SolidImage(kSize, 9, 1));
  };
  ASSERT_OK_AND_ASSIGN(const AssembledBatch batch, Assemble(0, 0));
  EXPECT_EQ(batch.channels, 1);
  EXPECT_EQ(batch.pixels, std::string(4 * kSize * kSize, 9));
}

TEST_F(BatchTest, ErrorsNameTheSampleAndKeepTheirCode) {
  accessor_ = [](uint32_t) -> absl::StatusOr<std::shared_ptr<const Image>> {
    return absl::DataLossError("the file changed");
  };
  EXPECT_THAT(Assemble(0, 0), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("sample ")));
  accessor_ = [](uint32_t) -> absl::StatusOr<std::shared_ptr<const Image>> {
    return std::make_shared<const Image>(SolidImage(kSize + 1, 0));
  };
  EXPECT_THAT(Assemble(0, 0), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Assemble(0, 3), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("steps 0..2")));
  EXPECT_THAT(Assemble(0, -1), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(BatchTest, AnExceptionOfTheAccessorIsAStatus) {
  accessor_ = [](uint32_t) -> absl::StatusOr<std::shared_ptr<const Image>> {
    throw std::bad_alloc();
  };
  EXPECT_THAT(Assemble(0, 0), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("memory")));
}

}  // namespace
}  // namespace atelier::vision
