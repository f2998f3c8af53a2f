#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/cli/report/report_parts.h"
#include "services/cli/run_json.h"

namespace atelier::cli::report {
namespace {

Json Series(const std::string& name, Json values, bool dashed = false) {
  return {{"name", name}, {"values", std::move(values)}, {"dashed", dashed}};
}

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json ClassNames(const v1::DatasetSummary& dataset) {
  Json names = Json::array();
  for (const v1::ClassCount& c : dataset.classes()) names.push_back(c.name());
  return names;
}

template <typename Get>
Json Counts(const v1::DatasetSummary& dataset, Get get) {
  Json values = Json::array();
  for (const v1::ClassCount& c : dataset.classes()) values.push_back(get(c));
  return values;
}

// What an undersampling stage leaves of every class: as many as the smallest has.
int SmallestClass(const v1::DatasetSummary& dataset) {
  int smallest = 0;
  for (const v1::ClassCount& c : dataset.classes()) {
    smallest = smallest == 0 ? c.found() : std::min(smallest, c.found());
  }
  return smallest;
}

// One member's stages one after the other, epochs counted through.
struct History {
  Json labels = Json::array();
  Json loss = Json::array(), val_loss = Json::array();
  Json accuracy = Json::array(), val_accuracy = Json::array();
};

History HistoryOf(const v1::Run& run, const std::string& member) {
  History h;
  const bool many = run.plan().stages_size() > 1;
  for (const v1::Task& task : run.tasks()) {
    if (task.member() != member) continue;
    for (const v1::EpochMetrics& e : task.result().history()) {
      h.labels.push_back(many ? absl::StrCat(task.stage(), " ", e.epoch() + 1)
                              : absl::StrCat(e.epoch() + 1));
      h.loss.push_back(Number(e.loss()));
      h.val_loss.push_back(Number(e.val_loss()));
      h.accuracy.push_back(Number(e.accuracy()));
      h.val_accuracy.push_back(Number(e.val_accuracy()));
    }
  }
  return h;
}

}  // namespace

std::string ChartData(const ReportData& data) {
  Json charts = Json::array();
  const v1::DatasetSummary& dataset = data.run.dataset();
  const int smallest = SmallestClass(dataset);
  charts.push_back(
      {{"id", "chart-classes"},
       {"kind", "bar"},
       {"labels", ClassNames(dataset)},
       {"series",
        Json::array({Series("found", Counts(dataset, [](const auto& c) { return c.found(); })),
                     Series("after undersampling",
                            Counts(dataset, [&](const auto&) { return smallest; }))})}});
  charts.push_back(
      {{"id", "chart-splits"},
       {"kind", "bar"},
       {"labels", ClassNames(dataset)},
       {"series", Json::array({Series("training",
                                      Counts(dataset, [](const auto& c) { return c.training(); })),
                               Series("validation", Counts(dataset, [](const auto& c) {
                                        return c.validation();
                                      }))})}});
  int number = 0;
  for (const v1::MemberSpec& member : data.run.plan().members()) {
    const History h = HistoryOf(data.run, member.name());
    charts.push_back({{"id", absl::StrCat("chart-loss-", number)},
                      {"kind", "line"},
                      {"labels", h.labels},
                      {"xTitle", "epoch"},
                      {"series", Json::array({Series("training loss", h.loss, true),
                                              Series("validation loss", h.val_loss)})}});
    charts.push_back({{"id", absl::StrCat("chart-accuracy-", number)},
                      {"kind", "line"},
                      {"labels", h.labels},
                      {"xTitle", "epoch"},
                      {"percent", true},
                      {"series", Json::array({Series("training accuracy", h.accuracy, true),
                                              Series("validation accuracy", h.val_accuracy)})}});
    ++number;
  }
  if (!data.test_counts.empty()) {
    Json names = Json::array();
    for (const std::string& name : data.run.ensemble().classes()) names.push_back(name);
    charts.push_back({{"id", "chart-test"},
                      {"kind", "bar"},
                      {"labels", names},
                      {"series", Json::array({Series("predicted", data.test_counts)})}});
  }
  // "</script>" or "<!--" in a class's name must not end or change the element.
  return absl::StrReplaceAll(charts.dump(-1, ' ', true, Json::error_handler_t::replace),
                             {{"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}});
}

}  // namespace atelier::cli::report
