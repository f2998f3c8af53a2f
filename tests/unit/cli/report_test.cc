#include "services/cli/report/report.h"

#include <gmock/gmock.h>

#include "tests/unit/cli/sample_run.h"

namespace atelier::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ReportData SampleData() {
  ReportData data;
  data.run = SampleRun();
  data.augmented = {{"png", "dog & cat"}};
  data.mixed = {{"png", "a 0.7 + b 0.3"}};
  data.validation = {
      {"x/<img src=x onerror=alert(2)>.jpg", "dog & cat", "<script>alert(1)</script>", 0.9, "png"},
      {"y.jpg", "dog & cat", "dog & cat", 0.6, ""}};
  data.validation_wrong = 1;
  data.test = {{"t.jpg", "", "dog & cat", 0.8, "png"}};
  data.test_counts = {0, 1};
  data.notes = {"a <note>"};
  return data;
}

TEST(ReportTest, HasEverySection) {
  const std::string html = RenderReport(SampleData());
  for (const char* id :
       {"scores", "confusion", "curves", "data", "previews", "predictions", "test", "provenance"}) {
    EXPECT_THAT(html, HasSubstr("<section id=\"" + std::string(id) + "\"")) << id;
  }
  EXPECT_THAT(html, HasSubstr("83.3 <small>%</small>"));
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,cG5n"));
}

TEST(ReportTest, EscapesClassAndFileNamesEverywhere) {
  const std::string html = RenderReport(SampleData());
  EXPECT_THAT(html, Not(HasSubstr("<script>alert(1)")));
  EXPECT_THAT(html, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(html, Not(HasSubstr("a <note>")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, HasSubstr("\\u003cscript\\u003ealert(1)"));
}

TEST(ReportTest, NeedsNoNetwork) {
  const std::string html = RenderReport(SampleData());
  for (const char* text : {"src=\"http", "href=\"http", "url(http", "@import", "<link"}) {
    EXPECT_THAT(html, Not(HasSubstr(text))) << text;
  }
}

TEST(ReportTest, MarksTheWrongPredictions) {
  const std::string html = RenderReport(SampleData());
  EXPECT_THAT(html, HasSubstr("<li class=\"wrong\">"));
  EXPECT_THAT(html, HasSubstr("1 is wrong"));
}

TEST(ReportTest, SaysWhatWasResumedInexactly) {
  ReportData data = SampleData();
  EXPECT_THAT(RenderReport(data), Not(HasSubstr("was resumed")));
  data.run.mutable_tasks(1)->mutable_result()->set_resumed_inexact("isa, build");
  EXPECT_THAT(RenderReport(data), HasSubstr("lite train was resumed on another kind of machine "
                                            "(isa, build)"));
}

TEST(ReportTest, LeavesOutWhatThereIsNot) {
  ReportData data;
  data.run = SampleRun();
  data.run.clear_metrics();
  const std::string html = RenderReport(data);
  EXPECT_THAT(html, Not(HasSubstr("<section id=\"scores\"")));
  EXPECT_THAT(html, Not(HasSubstr("<section id=\"test\"")));
  EXPECT_THAT(html, HasSubstr("Not scored"));
}

}  // namespace
}  // namespace atelier::cli
