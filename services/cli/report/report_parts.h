// The parts that RenderReport puts together. Each returns HTML, empty when there is nothing to
// show.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/cli/report/report.h"

namespace atelier::cli::report {

std::string Header(const ReportData& data);
std::string Scores(const ReportData& data);
std::string Confusion(const ReportData& data);
std::string Curves(const ReportData& data);
std::string Dataset(const ReportData& data);
std::string Previews(const ReportData& data);
std::string Predictions(const ReportData& data);
std::string TestPictures(const ReportData& data);
std::string Provenance(const ReportData& data);

// What the script draws, as JSON that is safe inside a <script> element.
std::string ChartData(const ReportData& data);

// "<section id=… ><h2>title</h2><p>lead</p>body</section>"; `lead` and `body` are HTML.
std::string Section(std::string_view id, std::string_view title, std::string_view lead,
                    std::string_view body);
std::string DataUri(std::string_view png);

}  // namespace atelier::cli::report
