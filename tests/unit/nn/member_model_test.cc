#include "common/nn/member_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "common/nn/predictor.h"
#include "common/nn/runtime.h"
#include "common/nn/scaling.h"
#include "common/nn/tensor_io.h"
#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using enum absl::StatusCode;

v1::ModelSpec Spec(int classes = 4, int hidden = 16) {
  v1::ModelSpec spec;
  spec.set_backbone("tiny_cnn");
  spec.mutable_head()->set_hidden_units(hidden);
  spec.mutable_head()->set_dropout(0.5F);
  spec.mutable_head()->set_l2(1e-3F);
  spec.mutable_image()->set_size(32);
  spec.set_classes(classes);
  return spec;
}
std::shared_ptr<MemberModel> Make(const v1::ModelSpec& spec, uint64_t seed = 1) {
  return MemberModel::Create(spec, seed).value();
}
std::string Save(const MemberModel& model) {
  return SaveTensorsToSafetensors(model.NamedTensors());
}

std::string Pixels(int n, int size = 32) {
  std::string out(static_cast<size_t>(n * size * size * 3), '\0');
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 37 % 251);
  return out;
}

TEST(MemberModelTest, EqualSeedsGiveEqualBytes) {
  EXPECT_EQ(Save(*Make(Spec(), 5)), Save(*Make(Spec(), 5)));
  EXPECT_NE(Save(*Make(Spec(), 5)), Save(*Make(Spec(), 6)));
}

TEST(MemberModelTest, WeightsRoundTripThroughSafetensors) {
  auto a = Make(Spec(), 1);
  auto b = Make(Spec(), 2);
  ASSERT_OK_AND_ASSIGN(const auto tensors, LoadTensorsFromSafetensors(Save(*a)));
  EXPECT_TRUE(tensors.contains("backbone/sepconv1/depthwise_kernel"));
  EXPECT_TRUE(tensors.contains("head/dense/kernel"));
  ASSERT_THAT(b->LoadTensors(tensors), IsOk());
  EXPECT_EQ(Save(*a), Save(*b));
}

TEST(MemberModelTest, LoadNamesTheFirstMismatchAndChangesNothing) {
  auto model = Make(Spec(4));
  const std::string before = Save(*model);
  auto other_classes = Make(Spec(5))->NamedTensors();
  EXPECT_THAT(model->LoadTensors(other_classes),
              StatusIs(kFailedPrecondition, AllOf(HasSubstr("head/predictions/bias"),
                                                  HasSubstr("[5]"), HasSubstr("[4]"))));
  auto missing = Make(Spec(4), 9)->NamedTensors();
  missing.erase("backbone/conv1/kernel");
  EXPECT_THAT(model->LoadTensors(missing),
              StatusIs(kFailedPrecondition, HasSubstr("backbone/conv1/kernel\" is missing")));
  auto extra = Make(Spec(4), 9)->NamedTensors();
  extra["backbone/zzz/kernel"] = at::zeros({1});
  EXPECT_THAT(model->LoadTensors(extra), StatusIs(kFailedPrecondition, HasSubstr("zzz")));
  EXPECT_EQ(Save(*model), before);
}

TEST(MemberModelTest, InitialWeightsLeaveTheHeadAlone) {
  auto model = Make(Spec(), 1);
  auto initial = Make(Spec(), 2)->NamedTensors();
  std::erase_if(initial, [](const auto& entry) { return entry.first.starts_with("head/"); });
  EXPECT_THAT(model->LoadTensors(initial), StatusIs(kFailedPrecondition, HasSubstr("head/")));
  const at::Tensor head = model->l2_kernel().clone();
  ASSERT_THAT(model->LoadTensors(initial, {.allow_missing_head = true}), IsOk());
  EXPECT_TRUE(at::equal(head, model->l2_kernel()));
  EXPECT_TRUE(at::equal(model->NamedTensors().at("backbone/conv1/kernel"),
                        initial.at("backbone/conv1/kernel")));
}

TEST(MemberModelTest, AGreyModelSumsTheFirstKernel) {
  v1::ModelSpec grey = Spec();
  grey.mutable_image()->set_channels(1);
  auto color = Make(Spec(), 2);
  auto model = Make(grey);
  ASSERT_THAT(model->LoadTensors(color->NamedTensors()), IsOk());
  const at::Tensor x = at::rand({2, 1, 32, 32});
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::allclose(model->Logits(x), color->Logits(x.expand({2, 3, 32, 32})), 1e-4, 1e-4));
}

TEST(MemberModelTest, RefusesBadSpecs) {
  EXPECT_THAT(MemberModel::Create(Spec(1), 1), StatusIs(kInvalidArgument, HasSubstr("classes")));
  v1::ModelSpec spec = Spec();
  spec.set_backbone("vgg");
  EXPECT_THAT(MemberModel::Create(spec, 1), StatusIs(kInvalidArgument, HasSubstr("tiny_cnn")));
  spec = Spec();
  spec.mutable_head()->set_dropout(1);
  EXPECT_THAT(MemberModel::Create(spec, 1), StatusIs(kInvalidArgument, HasSubstr("dropout")));
  spec = Spec();
  spec.mutable_image()->set_size(8);
  EXPECT_THAT(MemberModel::Create(spec, 1), StatusIs(kInvalidArgument, HasSubstr("pixels")));
  spec.mutable_image()->set_size(32);
  spec.mutable_image()->set_channels(2);
  EXPECT_THAT(MemberModel::Create(spec, 1), StatusIs(kInvalidArgument, HasSubstr("channels")));
}

TEST(MemberModelTest, DropoutIsAFunctionOfItsGenerator) {
  const at::Tensor x = at::ones({100, 100});
  at::Generator a = at::make_generator<at::CPUGeneratorImpl>(7);
  at::Generator b = at::make_generator<at::CPUGeneratorImpl>(7);
  const at::Tensor y = Dropout(x, 0.3, a);
  EXPECT_TRUE(at::equal(y, Dropout(x, 0.3, b)));
  EXPECT_NEAR(y.mean().item<float>(), 1, 0.02);
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<float>(), 0.3, 0.02);
}

TEST(MemberModelTest, TheHeadDropsAtItsRateInTrainingOnly) {
  constexpr int kUnits = 64;
  constexpr int kPictures = 1000;
  v1::ModelSpec spec = Spec(kUnits, kUnits);
  spec.mutable_head()->set_dropout(0.25F);
  auto model = Make(spec);
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> tensors = model->NamedTensors();
  tensors.at("head/dense/kernel").zero_();  // every hidden unit is 1, every logit one unit
  tensors.at("head/dense/bias").fill_(1);
  tensors.at("head/predictions/kernel").copy_(at::eye(kUnits));
  const at::Tensor x = at::rand({kPictures, 3, 32, 32});
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);
  const at::Tensor y = model->Logits(x, {.training = true, .generator = &generator});
  // Four deviations of 64,000 draws.
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<float>(), 0.25,
              4 * std::sqrt(0.25 * 0.75 / 64000));
  EXPECT_NEAR(y.max().item<float>(), 1 / 0.75, 1e-5);
  EXPECT_TRUE(at::equal(model->Logits(x), at::ones_like(y))) << "in evaluation nothing is dropped";
}

TEST(MemberModelTest, OneStepIsTheSameTwiceAndLowersTheLoss) {
  std::string first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    auto model = Make(Spec());
    const at::Tensor x =
        ScalePixels(reinterpret_cast<const uint8_t*>(Pixels(8).data()), 8, 32, 32, 3,
                    {.mean = {127.5, 127.5, 127.5}, .divisor = {127.5, 127.5, 127.5}});
    const at::Tensor target = at::arange(8).remainder(4);
    double before = 0;
    for (int step = 0; step < 20; ++step) {
      at::Generator generator =
          at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(step));
      at::Tensor loss = at::cross_entropy_loss(
          model->Logits(x, {.training = true, .generator = &generator}), target);
      (loss + model->L2Penalty()).backward();
      const at::NoGradGuard no_grad;
      for (NamedTensor& p : model->TrainableParameters()) {
        p.tensor.sub_(0.05 * p.tensor.grad());
        p.tensor.mutable_grad().reset();
      }
      if (step == 0) before = loss.item<double>();
      if (step == 19) {
        EXPECT_LT(loss.item<double>(), before);
      }
    }
    if (repeat == 0) first = Save(*model);
    EXPECT_EQ(Save(*model), first);
  }
}

TEST(PredictorTest, EqualsTheModelInEvaluation) {
  auto model = Make(Spec());
  {  // statistics away from their start
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
    const at::NoGradGuard no_grad;
    model->Logits(at::rand({8, 3, 32, 32}), {.training = true, .generator = &generator});
  }
  ASSERT_OK_AND_ASSIGN(const auto predictor, Predictor::Create(Spec(), Save(*model)));
  const std::string pixels = Pixels(3);
  ASSERT_OK_AND_ASSIGN(const v1::Matrix probabilities, predictor->Predict(pixels, 3));
  ASSERT_EQ(probabilities.rows(), 3);
  ASSERT_EQ(probabilities.columns(), 4);
  const at::NoGradGuard no_grad;
  const at::Tensor x = ScalePixels(reinterpret_cast<const uint8_t*>(pixels.data()), 3, 32, 32, 3,
                                   ScalingOf("tiny_cnn", v1::AUTO).value());
  const at::Tensor expected = at::softmax(model->Logits(x), 1);
  const at::Tensor ours =
      at::from_blob(const_cast<char*>(probabilities.data().data()), {3, 4}, at::kFloat);
  EXPECT_TRUE(at::allclose(ours, expected, 1e-5, 1e-5));
  EXPECT_GT(predictor->memory_bytes(), 10'000);

  ASSERT_OK_AND_ASSIGN(const auto bf16,
                       Predictor::Create(Spec(), Save(*model), {.precision = v1::BFLOAT16}));
  ASSERT_OK_AND_ASSIGN(const v1::Matrix rough, bf16->Predict(pixels, 3));
  EXPECT_TRUE(
      at::allclose(at::from_blob(const_cast<char*>(rough.data().data()), {3, 4}, at::kFloat),
                   expected, 0, 2e-2));
  ASSERT_OK_AND_ASSIGN(const v1::Matrix again, predictor->Predict(pixels, 3));
  EXPECT_EQ(again.data(), probabilities.data());
}

TEST(PredictorTest, RefusesWhatDoesNotFit) {
  const std::string weights = Save(*Make(Spec(4)));
  EXPECT_THAT(Predictor::Create(Spec(5), weights), StatusIs(kFailedPrecondition));
  EXPECT_THAT(Predictor::Create(Spec(4), "rubbish"), StatusIs(kInvalidArgument));
  EXPECT_THAT(Predictor::Create(Spec(4), weights, {.device = "tpu"}), StatusIs(kInvalidArgument));
  auto tensors = Make(Spec(4))->NamedTensors();
  tensors["backbone/conv1/kernel"].data().fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(Predictor::Create(Spec(4), SaveTensorsToSafetensors(tensors)),
              StatusIs(kInvalidArgument, HasSubstr("backbone/conv1/kernel")));
  ASSERT_OK_AND_ASSIGN(const auto predictor, Predictor::Create(Spec(4), weights));
  EXPECT_THAT(predictor->Predict(Pixels(1), 2), StatusIs(kInvalidArgument));
  EXPECT_THAT(predictor->Predict("", 0), StatusIs(kInvalidArgument));
}

TEST(RuntimeTest, TellsWhatTheNumbersDependOn) {
  EXPECT_THAT(CheckBlas(), IsOk());
  EXPECT_THAT(TorchVersion(), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_THAT(IsaName(), HasSubstr("/"));
  EXPECT_EQ(SetThreads(1), 1);
  EXPECT_THAT(ChooseDevice("cpu"), ::atelier::testing::IsOkAndHolds("cpu"));
  EXPECT_THAT(ChooseDevice("cuda:99"), StatusIs(kFailedPrecondition));
}

}  // namespace
}  // namespace atelier::nn
