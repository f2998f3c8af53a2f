#include "common/ensemble/npy.h"

#include "tests/testing/status_matchers.h"

namespace atelier::ensemble {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::IsOkAndHolds;
using ::atelier::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Npy, ProbabilitiesRoundTripAndTheDataIsAligned) {
  const Probabilities original{2, 3, {1, 2, 3, 4, 5, 6}};
  const std::string bytes = ToNpy(original);
  EXPECT_EQ(bytes.size(), 128u + 24u);
  EXPECT_THAT(bytes, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"));
  ASSERT_OK_AND_ASSIGN(const Probabilities back, ProbabilitiesFromNpy(bytes));
  EXPECT_EQ(back.rows, 2);
  EXPECT_EQ(back.values, original.values);
}

TEST(Npy, LabelsRoundTrip) {
  EXPECT_THAT(LabelsFromNpy(ToNpy(std::vector<int>{3, 0, 6})), IsOkAndHolds(ElementsAre(3, 0, 6)));
  EXPECT_THAT(LabelsFromNpy(ToNpy(std::vector<int>{})), IsOkAndHolds(ElementsAre()));
}

TEST(Npy, ReadsAndWritesArraysOfAnyShape) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const std::string bytes = ToNpy({1, 3, 2, 1}, values);
  EXPECT_THAT(bytes, HasSubstr("'shape': (1, 3, 2, 1), }"));
  ASSERT_OK_AND_ASSIGN(const NpyArray array, ParseNpy(bytes));
  EXPECT_EQ(array.type, "<f4");
  EXPECT_THAT(array.shape, ElementsAre(1, 3, 2, 1));
  EXPECT_EQ(array.data, bytes.substr(bytes.size() - 24));
  EXPECT_THAT(ToNpy({6}, values), HasSubstr("'shape': (6,), }"));
  std::string complex = bytes;
  complex.replace(complex.find("<f4"), 3, "<c8");
  EXPECT_THAT(ParseNpy(complex), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("<c8")));
}

TEST(Npy, RefusesAnExtentThatNoIntHolds) {
  EXPECT_THAT(ProbabilitiesFromNpy(ToNpy({0, (int64_t{1} << 31) - 1}, {})), IsOk());
  EXPECT_THAT(ProbabilitiesFromNpy(ToNpy({0, int64_t{1} << 31}, {})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too big")));
}

TEST(Npy, RefusesWhatItDoesNotRead) {
  const std::string good = ToNpy(Probabilities{1, 2, {0, 1}});
  for (size_t cut = 0; cut < good.size(); cut += 7) {
    EXPECT_THAT(ProbabilitiesFromNpy(std::string_view(good).substr(0, cut)),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << cut;
  }
  EXPECT_THAT(ProbabilitiesFromNpy(good + "x"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(LabelsFromNpy(good), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("<f4")));
}

}  // namespace
}  // namespace atelier::ensemble
