#include "services/cli/report/report.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/cli/format.h"
#include "services/cli/report/report_parts.h"

namespace atelier::cli {

// Generated from report.css, report.js and Debian's chart.min.js.
extern const std::string_view kReportCss;
extern const std::string_view kReportJs;
extern const std::string_view kChartJs;

namespace report {

std::string Section(std::string_view id, std::string_view title, std::string_view lead,
                    std::string_view body) {
  if (body.empty()) return "";
  return absl::StrCat("<section id=\"", std::string(id), "\">\n<h2>", std::string(title), "</h2>\n",
                      lead.empty() ? "" : "<p class=\"lead\">", std::string(lead),
                      lead.empty() ? "" : "</p>\n", std::string(body), "</section>\n");
}

std::string DataUri(std::string_view png) {
  return absl::StrCat("data:image/png;base64,", absl::Base64Escape(std::string(png)));
}

}  // namespace report

std::string RenderReport(const ReportData& data) {
  struct Part {
    const char* id;
    const char* label;
    std::string html;
  };
  const Part parts[] = {{"scores", "Scores", report::Scores(data)},
                        {"confusion", "Confusion", report::Confusion(data)},
                        {"curves", "Curves", report::Curves(data)},
                        {"data", "Data", report::Dataset(data)},
                        {"previews", "Training pictures", report::Previews(data)},
                        {"predictions", "Predictions", report::Predictions(data)},
                        {"test", "Test pictures", report::TestPictures(data)},
                        {"provenance", "Recipe and devices", report::Provenance(data)}};
  const std::string title =
      absl::StrCat(EscapeHtml(data.run.plan().name()), " · Atelier training report");
  std::string html = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
      title, "</title>\n<style>\n", std::string(kReportCss), "</style>\n</head>\n<body>\n",
      report::Header(data), "<nav aria-label=\"Sections\"><div>");
  for (const Part& part : parts) {
    if (part.html.empty()) continue;
    absl::StrAppend(&html, "<a href=\"#", part.id, "\">", part.label, "</a>");
  }
  absl::StrAppend(&html, "</div></nav>\n<main>\n");
  for (const Part& part : parts) html += part.html;
  absl::StrAppend(&html, "</main>\n<footer>Made by <code>atelier train</code>, run ",
                  EscapeHtml(data.run.run_id()),
                  ". This page is one file and needs no network.</footer>\n");
  absl::StrAppend(&html, "<script type=\"application/json\" id=\"chart-data\">",
                  report::ChartData(data), "</script>\n<script>", std::string(kChartJs),
                  "</script>\n<script>", std::string(kReportJs), "</script>\n</body>\n</html>\n");
  return html;
}

}  // namespace atelier::cli
