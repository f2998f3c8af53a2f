#include "services/data/catalog.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <optional>

#include "tests/testing/as_nobody.h"
#include "tests/testing/little_memory.h"
#include "tests/testing/no_descriptors.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/unit/data/pictures.h"

namespace atelier::data {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::HasSubstr;

class CatalogTest : public ::testing::Test {
 protected:
  std::unique_ptr<Catalog> Open() { return Catalog::Create(dir_.path(), {}, 2).value(); }
  absl::StatusOr<std::shared_ptr<const Dataset>> Describe(Catalog& catalog, double budget = 0) {
    v1::DescribeDatasetRequest request;
    request.set_bad_sample_budget(budget);
    return catalog.Describe(request, [](int, int) {});
  }
  testing::TempDir dir_;
};

TEST_F(CatalogTest, DescribesSortedAndTheDigestIsTheContents) {
  WriteClasses(dir_.path(), 3);
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto first, Describe(*catalog));
  ASSERT_EQ(first->samples.size(), 6U);
  EXPECT_EQ(first->samples[0].file(), "cat/0.png");
  EXPECT_EQ(first->samples[0].width(), 24);
  EXPECT_EQ(first->class_of_sample, (std::vector<int32_t>{0, 0, 0, 1, 1, 1}));
  testing::TempDir elsewhere;
  WriteClasses(elsewhere.path(), 3);
  auto other = Catalog::Create(elsewhere.path(), {}, 1).value();
  ASSERT_OK_AND_ASSIGN(const auto second, Describe(*other));
  EXPECT_EQ(first->digest, second->digest);
  Write(dir_.path() / "cat" / "9.png", Png(99));
  ASSERT_OK_AND_ASSIGN(const auto third, Describe(*catalog));
  EXPECT_NE(third->digest, first->digest);
}

// A message with a text that is not UTF-8 does not arrive.
TEST_F(CatalogTest, AFolderOfAnyNameIsSummarised) {
  const auto folder = dir_.path() / "b\xe4r";
  WriteClasses(folder, 2);
  const auto catalog = Catalog::Create(folder, {}, 1).value();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  ASSERT_OK_AND_ASSIGN(const v1::DatasetSummary summary, Summarize(*dataset, {}));
  EXPECT_EQ(summary.folder_name(), "b\xef\xbf\xbdr");
}

TEST_F(CatalogTest, CopiesAreDroppedAndListed) {
  WriteClasses(dir_.path(), 2);
  Write(dir_.path() / "dog" / "copy.png", Png(0));
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_EQ(dataset->samples.size(), 4U);
  ASSERT_EQ(dataset->duplicates.size(), 1U);
  EXPECT_EQ(dataset->duplicates[0].file(), "dog/copy.png");
  EXPECT_EQ(dataset->duplicates[0].kept(), "cat/0.png");
}

// submission.csv numbers the files of test/: none may be missing.
TEST_F(CatalogTest, CopiesAmongTheTestPicturesStayAndCostNoLabeledPicture) {
  WriteClasses(dir_.path() / "train", 2);
  for (const char* file : {"a.png", "b.png"}) Write(dir_.path() / "test" / file, Png(50));
  Write(dir_.path() / "test" / "c.png", Png(0));  // train/cat/0.png
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_EQ(dataset->class_of_sample, (std::vector<int32_t>{-1, -1, -1, 0, 0, 1, 1}));
  EXPECT_TRUE(dataset->duplicates.empty());
}

TEST_F(CatalogTest, WhatIsNoPictureIsQuarantinedWithinTheBudget) {
  WriteClasses(dir_.path(), 2);
  Write(dir_.path() / "cat" / "text.jpg", "not a picture");
  const std::string cut = Png(5);
  Write(dir_.path() / "dog" / "cut.png", cut.substr(0, cut.size() / 2));
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog, 0.5));
  ASSERT_EQ(dataset->quarantined.size(), 2U);
  EXPECT_EQ(dataset->quarantined[0].file(), "cat/text.jpg");
  EXPECT_FALSE(dataset->quarantined[0].reason().empty());
  EXPECT_THAT(Describe(*catalog),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cat/text.jpg")));
}

TEST_F(CatalogTest, AFileThatChangedIsNotReadAsTheOldOne) {
  WriteClasses(dir_.path(), 2);
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_THAT(catalog->ReadSample(*dataset, 0), IsOk());
  Write(dir_.path() / "cat" / "0.png", Png(77));
  EXPECT_THAT(catalog->ReadSample(*dataset, 0), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// The digest is that of both folders; what happens to one is no business of the other's.
TEST_F(CatalogTest, AFolderIsReadThoughItsCopyLosesAPicture) {
  WriteClasses(dir_.path() / "a", 2);
  std::filesystem::copy(dir_.path() / "a", dir_.path() / "b",
                        std::filesystem::copy_options::recursive);
  auto catalog = Open();
  v1::DescribeDatasetRequest request;
  v1::DataPlan plan;
  for (const char* folder : {"a", "b"}) {
    request.set_dataset(folder);
    ASSERT_OK_AND_ASSIGN(const auto described, catalog->Describe(request, [](int, int) {}));
    plan.set_dataset_digest(described->digest);
  }
  std::filesystem::remove(dir_.path() / "b" / "cat" / "0.png");
  for (const std::vector<std::string>& classes :
       {std::vector<std::string>{}, std::vector<std::string>{"cat", "dog"}}) {
    *plan.mutable_classes() = {classes.begin(), classes.end()};
    plan.set_dataset("a");
    ASSERT_OK_AND_ASSIGN(const auto whole, catalog->Find(plan));
    EXPECT_THAT(catalog->ReadSample(*whole, 0), IsOk());
    plan.set_dataset("b");
    ASSERT_OK_AND_ASSIGN(const auto incomplete, catalog->Find(plan));
    EXPECT_THAT(catalog->ReadSample(*incomplete, 0),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
}

// A client chooses the order of the classes, and there are n! of them.
TEST_F(CatalogTest, OrdersOfTheClassesAreForgottenLeastRecentlyUsedFirst) {
  std::vector<std::string> classes = {"a", "b", "c", "d"};
  for (size_t i = 0; i < classes.size(); ++i) {
    Write(dir_.path() / classes[i] / "0.png", Png(static_cast<int>(i)));
  }
  auto catalog = Open();
  v1::DataPlan plan;
  plan.set_dataset(".");
  plan.set_dataset_digest((*Describe(*catalog))->digest);
  const auto find = [&](const std::vector<std::string>& order) {
    *plan.mutable_classes() = {order.begin(), order.end()};
    return catalog->Find(plan).value();
  };
  const std::weak_ptr<const Dataset> used = find({});
  std::vector<std::weak_ptr<const Dataset>> orders;
  do {
    orders.push_back(find(classes));
    EXPECT_EQ(find({}), used.lock()) << "what is used stays";
  } while (std::next_permutation(classes.begin(), classes.end()));
  ASSERT_EQ(orders.size(), 24U);
  EXPECT_TRUE(orders[1].expired());
  EXPECT_FALSE(orders.back().expired());
  EXPECT_EQ(find({"a", "b", "d", "c"})->classes[3], "c") << "described again";
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadows take terabytes
TEST_F(CatalogTest, WithoutMemoryNoPictureIsBlamed) {
  WriteClasses(dir_.path(), 1);
  Write(dir_.path() / "cat" / "large.bmp", GreyBmp(3400));  // 35 MB decoded, in OpenCV 35 MB more
  auto catalog = Open();
  int refusals = 0;
  absl::StatusOr<std::shared_ptr<const Dataset>> dataset;
  do {
    const testing::LittleMemory little(static_cast<rlim_t>(refusals) << 22);
    dataset = Describe(*catalog, 1);
    if (!dataset.ok()) ++refusals;
  } while (absl::IsResourceExhausted(dataset.status()));
  ASSERT_THAT(dataset, IsOk());
  EXPECT_EQ((*dataset)->samples.size(), 3U);
  EXPECT_TRUE((*dataset)->quarantined.empty()) << (*dataset)->quarantined[0].reason();
  EXPECT_GT(refusals, 4);
}
#endif

TEST_F(CatalogTest, WithoutDescriptorsNoPictureIsBlamed) {
  WriteClasses(dir_.path(), 1);
  auto catalog = Catalog::Create(dir_.path(), {}, 1).value();
  v1::DescribeDatasetRequest request;
  request.set_bad_sample_budget(1);
  std::optional<testing::NoDescriptors> none;
  const auto refused = catalog->Describe(request, [&](int done, int) {
    if (done == 1) none.emplace();
  });
  none.reset();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("open files")));
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_EQ(dataset->samples.size(), 2U);
}

// The link's target and the hard link are one file: size and time stay.
TEST_F(CatalogTest, ALinkThatLeftTheRootIsLookedAtAgain) {
  testing::TempDir elsewhere;
  Write(elsewhere.path() / "9.png", Png(9));
  WriteClasses(dir_.path(), 2);
  const auto file = dir_.path() / "cat" / "9.png";
  std::filesystem::create_symlink(elsewhere.path() / "9.png", file);
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto before, Describe(*catalog, 0.5));
  ASSERT_EQ(before->quarantined.size(), 1U);
  EXPECT_THAT(before->quarantined[0].reason(), HasSubstr("leaves the root"));
  std::filesystem::remove(file);
  std::filesystem::create_hard_link(elsewhere.path() / "9.png", file);
  ASSERT_OK_AND_ASSIGN(const auto after, Describe(*catalog));
  EXPECT_TRUE(after->quarantined.empty());
  EXPECT_EQ(after->samples.size(), 5U);
}

TEST_F(CatalogTest, APictureThatMayBeReadAgainIsThere) {
  using std::filesystem::perms;
  WriteClasses(dir_.path(), 2);
  const auto file = dir_.path() / "cat" / "0.png";
  std::filesystem::permissions(file, perms::none);
  std::optional<testing::AsNobody> nobody(dir_.path());
  auto catalog = Catalog::Create(dir_.path(), {}, 1).value();  // this thread alone is nobody
  ASSERT_OK_AND_ASSIGN(const auto before, Describe(*catalog, 0.5));
  ASSERT_EQ(before->quarantined.size(), 1U);
  EXPECT_THAT(before->quarantined[0].reason(), HasSubstr("Permission denied"));
  nobody.reset();
  std::filesystem::permissions(file, perms::owner_read | perms::group_read | perms::others_read);
  nobody.emplace(dir_.path());
  ASSERT_OK_AND_ASSIGN(const auto after, Describe(*catalog));
  EXPECT_EQ(after->samples.size(), 4U);
}

// A run that hears that a picture is gone ends; one that cannot get at it may ask again.
TEST_F(CatalogTest, ASampleThatCannotBeReachedIsNotGone) {
  using std::filesystem::perms;
  WriteClasses(dir_.path(), 2);
  auto catalog = Open();
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  const auto folder = dir_.path() / "cat";
  std::filesystem::permissions(folder, perms::none);
  {
    const testing::AsNobody nobody(dir_.path());
    EXPECT_THAT(catalog->ReadSample(*dataset, 0),
                StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("0.png")));
  }
  std::filesystem::permissions(folder, perms::owner_all);
  EXPECT_THAT(catalog->ReadSample(*dataset, 0), IsOk());
  std::filesystem::remove(folder / "0.png");
  EXPECT_THAT(catalog->ReadSample(*dataset, 0),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("is gone")));
}

// A file under somebody's write lease cannot be opened at once: one of the errors that pass.
TEST_F(CatalogTest, APictureThatCannotBeReadForNowIsNotBlamed) {
  WriteClasses(dir_.path(), 2);
  const auto ignored = std::signal(SIGIO, SIG_IGN);  // the holder of a lease is told
  const int fd = ::open((dir_.path() / "cat" / "0.png").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const bool leased = ::fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
  auto catalog = Open();
  const auto refused = Describe(*catalog, 1);
  ::close(fd);
  std::signal(SIGIO, ignored);
  if (!leased) GTEST_SKIP() << "no leases in this file system";
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("0.png")));
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_EQ(dataset->samples.size(), 4U);
}

TEST_F(CatalogTest, ADescriptionThatIsStoppedReadsNoFurtherFiles) {
  constexpr int kThreads = 2;
  WriteClasses(dir_.path(), 100);
  auto catalog = Catalog::Create(dir_.path(), {}, kThreads).value();
  std::atomic<int> looked_at = 0;
  const auto count = [&](int, int) { ++looked_at; };
  const StopCheck after_three = [&] {
    return looked_at < 3 ? absl::OkStatus() : absl::CancelledError("the client left");
  };
  EXPECT_THAT(catalog->Describe({}, count, after_three), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_LT(looked_at, 3 + kThreads);
  // What is stopped from the beginning reads nothing.
  v1::DataPlan plan;
  looked_at = 3;
  EXPECT_THAT(catalog->Find(plan, after_three), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(catalog->Describe({}, count, after_three), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(looked_at, 3);
  ASSERT_OK_AND_ASSIGN(const auto dataset, Describe(*catalog));
  EXPECT_EQ(dataset->samples.size(), 200U);
}

TEST_F(CatalogTest, ARelativeRootIsRefusedWithTheFix) {
  EXPECT_THAT(Catalog::Create("pictures", {}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("absolute")));
}

}  // namespace
}  // namespace atelier::data
