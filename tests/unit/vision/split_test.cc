#include "common/vision/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "common/vision/undersample.h"
#include "tests/testing/status_matchers.h"
#include "tests/unit/vision/test_pictures.h"

namespace atelier::vision {
namespace {

using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

std::vector<int64_t> CountClasses(const std::vector<uint32_t>& items,
                                  const std::vector<int32_t>& classes, size_t k) {
  std::vector<int64_t> counts(k);
  for (const uint32_t item : items) ++counts[static_cast<size_t>(classes[item])];
  return counts;
}

std::vector<int64_t> ReadCounts(std::istream& in, size_t k) {
  std::vector<int64_t> counts(k);
  for (int64_t& count : counts) in >> count;
  return counts;
}

// tests/golden/make_sklearn_split_reference.py
TEST(Split, CountsPerClassAreSklearnsAndImblearns) {
  std::istringstream lines(ReadTestData("sklearn_split.txt"));
  int cases = 0;
  for (std::string line; std::getline(lines, line); ++cases) {
    SCOPED_TRACE(line);
    std::istringstream in(line);
    uint64_t seed = 0;
    double fraction = 0;
    size_t k = 0;
    in >> seed >> fraction >> k;
    const auto counts = ReadCounts(in, k);
    std::vector<int32_t> classes;
    for (size_t c = 0; c < k; ++c) {
      classes.insert(classes.end(), static_cast<size_t>(counts[c]), static_cast<int32_t>(c));
    }
    ASSERT_OK_AND_ASSIGN(const Split split, StratifiedSplit(classes, fraction, seed));
    EXPECT_EQ(CountClasses(split.training, classes, k), ReadCounts(in, k));
    EXPECT_EQ(CountClasses(split.validation, classes, k), ReadCounts(in, k));
    EXPECT_EQ(CountClasses(Undersample(classes, seed), classes, k), ReadCounts(in, k));
  }
  EXPECT_EQ(cases, 60);
}

std::vector<int32_t> Alternating(int n, int k) {
  std::vector<int32_t> classes;
  for (int i = 0; i < n; ++i) classes.push_back(i % k);
  return classes;
}

TEST(Split, PutsEveryItemIntoExactlyOnePart) {
  ASSERT_OK_AND_ASSIGN(const Split split, StratifiedSplit(Alternating(103, 4), 0.1, 42));
  std::set<uint32_t> all(split.training.begin(), split.training.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 103U);
  EXPECT_EQ(split.training.size() + split.validation.size(), 103U);
  EXPECT_EQ(split.validation.size(), 11U);
}

TEST(Split, IsSeeded) {
  const auto validation = [](uint64_t seed) {
    return StratifiedSplit(Alternating(100, 4), 0.2, seed)->validation;
  };
  EXPECT_EQ(validation(1), validation(1));
  EXPECT_NE(validation(1), validation(2));
  EXPECT_NE(validation(1), validation(1 + (uint64_t{1} << 32)));
}

TEST(Split, FractionZeroKeepsEverythingForTraining) {
  ASSERT_OK_AND_ASSIGN(const Split split, StratifiedSplit(Alternating(5, 5), 0, 1));
  EXPECT_EQ(split.training.size(), 5U);
  EXPECT_TRUE(split.validation.empty());
}

TEST(Split, SaysWhatIsMissing) {
  EXPECT_THAT(StratifiedSplit(Alternating(10, 2), 0.95, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0..0.9")));
  EXPECT_THAT(StratifiedSplit(std::vector<int32_t>{0, 0, 0, 1}, 0.5, 1),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("class 1")));
  EXPECT_THAT(StratifiedSplit(Alternating(21, 7), 0.1, 1),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("7 classes")));
}

// Ids 0..59 alternate between two classes, 60..69 are a third, 70..74 have none.
std::vector<int32_t> ManifestClasses() {
  std::vector<int32_t> classes = Alternating(60, 2);
  classes.insert(classes.end(), 10, 2);
  classes.insert(classes.end(), 5, -1);
  return classes;
}

TEST(SelectSubset, SplitsTheLabelledSamplesAndKeepsTestApart) {
  const auto classes = ManifestClasses();
  v1::SplitSpec spec;
  spec.set_validation_fraction(0.1);
  spec.set_seed(42);
  ASSERT_OK_AND_ASSIGN(const auto training, SelectSubset(classes, v1::TRAINING, spec));
  ASSERT_OK_AND_ASSIGN(const auto validation, SelectSubset(classes, v1::VALIDATION, spec));
  ASSERT_OK_AND_ASSIGN(const auto all, SelectSubset(classes, v1::ALL_LABELED, spec));
  ASSERT_OK_AND_ASSIGN(const auto test, SelectSubset(classes, v1::TEST, spec));
  EXPECT_EQ(training.size(), 63U);
  EXPECT_EQ(validation.size(), 7U);
  EXPECT_EQ(all.size(), 70U);
  EXPECT_EQ(test, (std::vector<uint32_t>{70, 71, 72, 73, 74}));
  std::vector<uint32_t> both;
  std::ranges::merge(training, validation, std::back_inserter(both));
  EXPECT_EQ(both, all);
  EXPECT_THAT(SelectSubset(classes, v1::SUBSET_UNSPECIFIED, spec),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(SelectSubset, UndersamplesBeforeTheSplit) {
  v1::SplitSpec spec;
  spec.set_validation_fraction(0.2);
  spec.set_seed(42);
  spec.set_undersample(true);
  ASSERT_OK_AND_ASSIGN(const Composition composition, Compose(ManifestClasses(), spec));
  EXPECT_EQ(CountClasses(composition.used, ManifestClasses(), 3),
            (std::vector<int64_t>{10, 10, 10}));
  EXPECT_EQ(CountClasses(composition.training, ManifestClasses(), 3),
            (std::vector<int64_t>{8, 8, 8}));
  EXPECT_EQ(composition.validation.size(), 6U);
}

}  // namespace
}  // namespace atelier::vision
