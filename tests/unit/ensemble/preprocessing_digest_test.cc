#include "common/ensemble/preprocessing_digest.h"

#include <gtest/gtest.h>

namespace atelier::ensemble {
namespace {

v1::EnsembleVersion OneMember() {
  v1::EnsembleVersion ensemble;
  v1::ModelSpec& model = *ensemble.add_members()->mutable_model();
  model.set_backbone("xception");
  model.mutable_image()->set_size(200);
  return ensemble;
}

TEST(PreprocessingDigest, UnsetFieldsAreTheirMeaning) {
  v1::EnsembleVersion spelled = OneMember();
  v1::ModelSpec& model = *spelled.mutable_members(0)->mutable_model();
  model.set_scaling(v1::AUTO);
  model.mutable_image()->set_filter(v1::AREA);
  model.mutable_image()->set_channels(3);
  EXPECT_EQ(PreprocessingDigest(spelled), PreprocessingDigest(OneMember()));
}

TEST(PreprocessingDigest, ChangesWithEveryPart) {
  const std::string base = PreprocessingDigest(OneMember());
  v1::EnsembleVersion other = OneMember();
  other.mutable_members(0)->mutable_model()->set_scaling(v1::NOTEBOOK);
  EXPECT_NE(PreprocessingDigest(other), base);
  other = OneMember();
  other.mutable_members(0)->mutable_model()->mutable_image()->set_size(201);
  EXPECT_NE(PreprocessingDigest(other), base);
  other = OneMember();
  other.mutable_members(0)->mutable_model()->mutable_image()->set_filter(v1::NEAREST);
  EXPECT_NE(PreprocessingDigest(other), base);
  other = OneMember();
  *other.add_members() = other.members(0);
  EXPECT_NE(PreprocessingDigest(other), base);
}

}  // namespace
}  // namespace atelier::ensemble
