#include "common/nn/torch_errors.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/nn/member_model.h"
#include "common/nn/predictor.h"
#include "common/nn/tensor_io.h"
#include "tests/testing/little_memory.h"
#include "tests/testing/status_matchers.h"

namespace atelier::nn {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using enum absl::StatusCode;

TEST(TorchErrorsTest, WhatIsNotThrownComesThrough) {
  EXPECT_THAT(CatchTorchErrors("count", [] { return absl::StatusOr<int>(3); }), IsOkAndHolds(3));
  EXPECT_THAT(CatchTorchErrors("count", [] { return absl::NotFoundError("none"); }),
              StatusIs(kNotFound));
}

TEST(TorchErrorsTest, NoMemoryIsTheMachinesFaultAndTheRestLibTorchs) {
  const auto status_of = [](const auto& error) {
    // NOLINTNEXTLINE(bugprone-exception-copy-constructor-throws): LibTorch's are like that
    return CatchTorchErrors("predict", [&]() -> absl::Status { throw error; });
  };
  EXPECT_THAT(status_of(std::bad_alloc()), StatusIs(kResourceExhausted, HasSubstr("to predict")));
  const c10::SourceLocation here{__func__, __FILE__, __LINE__};
  EXPECT_THAT(status_of(c10::OutOfMemoryError(here, "CUDA out of memory")),
              StatusIs(kResourceExhausted));
  EXPECT_THAT(status_of(c10::Error(here, "DefaultCPUAllocator: can't allocate memory: you tried")),
              StatusIs(kResourceExhausted));
  EXPECT_THAT(status_of(c10::Error(here, "shapes differ")),
              StatusIs(kInternal, AllOf(HasSubstr("predict"), HasSubstr("shapes differ"))));
  EXPECT_THAT(status_of(std::runtime_error("broken")), StatusIs(kInternal, HasSubstr("broken")));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
// With more and more memory each time, in steps of 4 MiB: what `work` says before it can do it.
template <typename Work>
int RefusalsForWantOfMemory(Work work) {
  // What the heap holds free from before would serve.
  std::vector<std::unique_ptr<char[]>> taken;
  {
    const testing::LittleMemory little(0);
    while (char* hole = new (std::nothrow) char[1 << 20]) taken.emplace_back(hole);
  }
  for (int refusals = 0;; ++refusals) {
    absl::Status status;
    {
      const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
      status = work();
    }
    if (status.ok()) return refusals;
    EXPECT_THAT(status, StatusIs(kResourceExhausted)) << "refusal " << refusals;
    if (!absl::IsResourceExhausted(status)) return -1;
  }
}

TEST(TorchErrorsTest, APredictorWithoutMemoryIsResourceExhausted) {
  v1::ModelSpec spec;
  spec.set_backbone("tiny_cnn");
  spec.mutable_head()->set_hidden_units(60'000);  // tens of megabytes
  spec.mutable_image()->set_size(32);
  spec.set_classes(4);
  const std::string weights =
      SaveTensorsToSafetensors(MemberModel::Create(spec, 1).value()->NamedTensors());
  std::unique_ptr<Predictor> predictor;
  const auto create = [&]() -> absl::Status {
    ATELIER_ASSIGN_OR_RETURN(predictor, Predictor::Create(spec, weights));
    return absl::OkStatus();
  };
  ASSERT_THAT(create(), IsOk());  // LibTorch's own first steps are done
  EXPECT_GT(RefusalsForWantOfMemory(create), 4);

  constexpr int kPictures = 256;
  const std::string pixels(size_t{kPictures} * 32 * 32 * 3, '\x55');
  const auto predict = [&] { return predictor->Predict(pixels, kPictures).status(); };
  ASSERT_THAT(predict(), IsOk());
  EXPECT_GT(RefusalsForWantOfMemory(predict), 4);
}
#endif

}  // namespace
}  // namespace atelier::nn
