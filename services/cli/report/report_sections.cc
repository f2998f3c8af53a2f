#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/ensemble/metrics.h"
#include "services/cli/format.h"
#include "services/cli/recipe/recipe.h"
#include "services/cli/report/report_parts.h"
#include "services/cli/run_json.h"

namespace atelier::cli::report {
namespace {

std::string Fact(std::string_view name, std::string_view value, std::string_view note = "") {
  return absl::StrCat("<div><dt>", std::string(name), "</dt><dd>", std::string(value),
                      note.empty() ? "" : "<small>", std::string(note),
                      note.empty() ? "" : "</small>", "</dd></div>\n");
}

std::string Duration(const v1::Run& run) {
  return run.ended_unix_ms() > run.created_unix_ms()
             ? cli::Duration(static_cast<double>(run.ended_unix_ms() - run.created_unix_ms()) /
                             1000)
             : "-";
}

ensemble::Interval IntervalOf(double accuracy, int images) {
  return ensemble::WilsonInterval(static_cast<int>(std::lround(accuracy * images)), images);
}

// Seconds and epochs a member trained, over all its stages.
struct Effort {
  int epochs = 0;
  double seconds = 0;
};
Effort EffortOf(const v1::Run& run, const std::string& member) {
  Effort effort;
  for (const v1::Task& task : run.tasks()) {
    if (task.member() != member) continue;
    for (const v1::EpochMetrics& epoch : task.result().history()) {
      ++effort.epochs;
      effort.seconds += epoch.seconds();
    }
  }
  return effort;
}

// The axis on which the intervals are drawn: from a round number below all of them to 100 %.
double AxisStart(const v1::EnsembleMetrics& metrics) {
  double low = metrics.accuracy_low();
  for (const v1::MemberMetrics& member : metrics.members()) {
    low = std::min(low, IntervalOf(member.accuracy(), metrics.images()).low);
  }
  return std::min(0.9, std::max(0.0, std::floor(low * 10) / 10));
}

std::string RangeCell(double accuracy, const ensemble::Interval& interval, double start) {
  const double span = 1 - start;
  return absl::StrFormat(
      "<span class=\"range\" role=\"img\" aria-label=\"%.1f to %.1f percent\">"
      "<i style=\"left:%.2f%%;width:%.2f%%\"></i><b style=\"left:%.2f%%\"></b></span>",
      100 * interval.low, 100 * interval.high, 100 * (interval.low - start) / span,
      100 * (interval.high - interval.low) / span, 100 * (accuracy - start) / span);
}

std::string ScoreRow(const std::string& name, double accuracy, double log_loss, int images,
                     double start, const Effort& effort, bool total) {
  const ensemble::Interval interval = IntervalOf(accuracy, images);
  return absl::StrCat(
      total ? "<tr class=\"total\">" : "<tr>", "<th scope=\"row\">", EscapeHtml(name),
      "</th><td class=\"num\">", Percent(accuracy), "</td><td>",
      RangeCell(accuracy, interval, start), "</td><td class=\"num\">",
      absl::StrFormat("%.1f to %.1f", 100 * interval.low, 100 * interval.high),
      "</td><td class=\"num\">", absl::StrFormat("%.4f", log_loss), "</td><td class=\"num\">",
      effort.epochs > 0 ? absl::StrCat(effort.epochs) : "", "</td><td class=\"num\">",
      effort.epochs > 0 ? cli::Duration(effort.seconds) : "", "</td></tr>\n");
}

// A path may break after its slashes rather than in the middle of a name.
std::string FileName(const std::string& file) {
  return absl::StrReplaceAll(EscapeHtml(file), {{"/", "/<wbr>"}});
}

std::string Figure(const ReportPrediction& p) {
  std::string html = p.wrong() ? "<li class=\"wrong\">" : "<li>";
  if (p.png.empty()) {
    html += "<div class=\"blank\">no picture</div>";
  } else {
    absl::StrAppend(&html, "<img loading=\"lazy\" alt=\"", EscapeHtml(p.file), "\" src=\"",
                    DataUri(p.png), "\">");
  }
  const std::string probability = absl::StrFormat("%.0f %%", 100 * p.probability);
  absl::StrAppend(&html, "<p><b>", EscapeHtml(p.predicted), " ", probability, "</b>");
  if (p.wrong()) absl::StrAppend(&html, "is ", EscapeHtml(p.truth), "<br>");
  return absl::StrCat(html, FileName(p.file), "</p></li>\n");
}

std::string Gallery(const std::vector<ReportPicture>& pictures) {
  std::string html = "<ul class=\"pictures\">\n";
  for (const ReportPicture& picture : pictures) {
    absl::StrAppend(&html, "<li><img loading=\"lazy\" alt=\"", EscapeHtml(picture.caption),
                    "\" src=\"", DataUri(picture.png), "\"><p>", EscapeHtml(picture.caption),
                    "</p></li>\n");
  }
  return html + "</ul>\n";
}

std::string Chart(const std::string& id, const std::string& label, bool tall = false) {
  return absl::StrCat("<div class=\"chart", tall ? " tall" : "", "\"><canvas id=\"", id,
                      "\" role=\"img\" aria-label=\"", EscapeHtml(label), "\"></canvas></div>\n");
}

std::string ClassTable(const v1::DatasetSummary& dataset) {
  std::string html =
      "<details><summary>The same as numbers</summary><div class=\"scroll\"><table><thead><tr>"
      "<th>Class</th><th class=\"num\">Found</th><th class=\"num\">Used</th>"
      "<th class=\"num\">Training</th><th class=\"num\">Validation</th></tr></thead><tbody>\n";
  for (const v1::ClassCount& c : dataset.classes()) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(c.name()), "</th>");
    for (const int n : {c.found(), c.used(), c.training(), c.validation()}) {
      absl::StrAppend(&html, "<td class=\"num\">", Grouped(n), "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div></details>\n";
}

std::string PairTable(const std::string& title, const std::string& left, const std::string& right,
                      const std::vector<std::pair<std::string, std::string>>& rows) {
  if (rows.empty()) return "";
  std::string html = absl::StrCat("<details><summary>", title,
                                  "</summary><div class=\"scroll\"><table><thead><tr><th>", left,
                                  "</th><th>", right, "</th></tr></thead><tbody>\n");
  for (const auto& [a, b] : rows) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(a), "</th><td>", EscapeHtml(b),
                    "</td></tr>\n");
  }
  return html + "</tbody></table></div></details>\n";
}

std::string HistoryTable(const v1::Run& run, const std::string& member) {
  std::string html =
      "<details><summary>Every epoch as numbers</summary><div class=\"scroll\"><table><thead><tr>"
      "<th>Stage</th><th class=\"num\">Epoch</th><th class=\"num\">Loss</th><th "
      "class=\"num\">Accuracy</th>"
      "<th class=\"num\">Val. loss</th><th class=\"num\">Val. accuracy</th><th "
      "class=\"num\">Rate</th>"
      "<th class=\"num\">Time</th></tr></thead><tbody>\n";
  for (const v1::Task& task : run.tasks()) {
    if (task.member() != member) continue;
    for (const v1::EpochMetrics& e : task.result().history()) {
      absl::StrAppend(&html, "<tr><td>", EscapeHtml(task.stage()),
                      absl::StrFormat("</td><td class=\"num\">%d</td><td class=\"num\">%.4f</td>"
                                      "<td class=\"num\">%s</td><td class=\"num\">%.4f</td>"
                                      "<td class=\"num\">%s</td><td class=\"num\">%.2g</td>"
                                      "<td class=\"num\">%s</td></tr>\n",
                                      e.epoch() + 1, e.loss(), Percent(e.accuracy()), e.val_loss(),
                                      Percent(e.val_accuracy()), e.learning_rate(),
                                      cli::Duration(e.seconds())));
    }
  }
  return html + "</tbody></table></div></details>\n";
}

std::string ConfusionCell(int count, int row_total, bool diagonal) {
  if (count == 0) return "<td><span class=\"none\">0</span></td>";
  const int weight = row_total > 0 ? static_cast<int>(std::lround(100.0 * count / row_total)) : 0;
  return absl::StrFormat("<td><span class=\"%s%s\" style=\"--w:%d\">%d</span></td>",
                         diagonal ? "hit" : "miss", diagonal && weight >= 75 ? " strong" : "",
                         weight, count);
}

std::string AttemptRows(const v1::Run& run) {
  std::string html;
  for (const v1::Task& task : run.tasks()) {
    for (const v1::Attempt& attempt : task.attempts()) {
      const v1::Device& device = attempt.device();
      std::string what = EscapeHtml(device.name());
      if (!device.model().empty()) absl::StrAppend(&what, ", ", EscapeHtml(device.model()));
      if (device.threads() > 0) absl::StrAppend(&what, ", ", device.threads(), " threads");
      if (!device.isa().empty()) absl::StrAppend(&what, ", ", EscapeHtml(device.isa()));
      absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(task.member()), "</th><td>",
                      EscapeHtml(task.stage()), "</td><td>", EscapeHtml(attempt.trainer()),
                      "</td><td>", what, "</td><td class=\"num\">", attempt.start().epoch(), ":",
                      attempt.start().step(), " to ", attempt.end().epoch(), ":",
                      attempt.end().step(), "</td></tr>\n");
    }
  }
  return html;
}

std::string DigestRows(const v1::Run& run) {
  std::string html;
  const auto row = [&html](const std::string& name, const std::string& digest) {
    if (digest.empty()) return;
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(name), "</th><td><code>",
                    EscapeHtml(digest), "</code></td></tr>\n");
  };
  row("data set", run.dataset().digest());
  row("preprocessing", run.ensemble().preprocessing_digest());
  for (const v1::MemberSpec& member : run.plan().members()) {
    row(member.name() + ", initial weights", member.initial_weights_digest());
  }
  for (const v1::EnsembleMember& member : run.ensemble().members()) {
    row(member.name() + ", trained weights", member.weights_digest());
  }
  return html;
}

std::string Inexact(const v1::Run& run) {
  std::string html;
  for (const v1::Task& task : run.tasks()) {
    if (task.result().resumed_inexact().empty()) continue;
    absl::StrAppend(&html, "<li>", EscapeHtml(task.member()), " ", EscapeHtml(task.stage()),
                    " was resumed on another kind of machine (",
                    EscapeHtml(task.result().resumed_inexact()),
                    "): its numbers, and those of its member's later stages, may differ slightly "
                    "from an undisturbed run's.</li>\n");
  }
  return html;
}

}  // namespace

std::string Header(const ReportData& data) {
  const v1::Run& run = data.run;
  const v1::EnsembleMetrics& metrics = run.metrics();
  std::string figure =
      metrics.images() > 0
          ? absl::StrFormat(
                "<p class=\"figure\">%.1f <small>%%</small></p><p class=\"figure-note\">"
                "of %s validation pictures right. 95 %% interval: %.1f to %.1f %%.</p>",
                100 * metrics.accuracy(), Grouped(metrics.images()), 100 * metrics.accuracy_low(),
                100 * metrics.accuracy_high())
          : "<p class=\"figure\">–</p><p class=\"figure-note\">Not scored: the plan keeps no "
            "pictures "
            "for validation.</p>";
  std::string facts;
  if (metrics.images() > 0) {
    facts += Fact("Log loss", absl::StrFormat("%.4f", metrics.log_loss()), "validation");
  }
  std::vector<std::string> members;
  for (const v1::EnsembleMember& member : run.ensemble().members()) {
    members.push_back(EscapeHtml(member.name()));
  }
  facts += Fact("Members", absl::StrCat(members.size()), absl::StrJoin(members, ", "));
  facts += Fact("Classes", absl::StrCat(run.dataset().classes_size()));
  facts +=
      Fact("Labelled pictures", Grouped(run.dataset().labeled()),
           absl::StrCat(
               run.dataset().quarantined_size(), " quarantined, ", run.dataset().duplicates_size(),
               run.dataset().duplicates_size() == 1 ? " copy dropped" : " copies dropped"));
  facts += Fact("Test pictures", Grouped(run.dataset().test()));
  facts += Fact("Time", Duration(run), "from submission to publication");
  const std::string version =
      run.has_ensemble() ? absl::StrCat("<span>@", run.ensemble().version(), "</span>") : "";
  return absl::StrCat(
      "<header class=\"top\">\n<p class=\"eyebrow\">Atelier training report</p>\n<h1>",
      EscapeHtml(run.plan().name()), version, "</h1>\n<p class=\"sub\">Recipe ",
      EscapeHtml(run.plan().recipe()), ", ", LocalTime(run.created_unix_ms()),
      "</p>\n<div class=\"hero\"><div class=\"card\">", figure,
      "</div><div class=\"card\"><dl class=\"facts\">\n", facts, "</dl></div></div>\n</header>\n");
}

std::string Scores(const ReportData& data) {
  const v1::EnsembleMetrics& metrics = data.run.metrics();
  if (metrics.images() == 0) return "";
  const double start = AxisStart(metrics);
  std::string rows = ScoreRow("ensemble", metrics.accuracy(), metrics.log_loss(), metrics.images(),
                              start, {}, true);
  for (const v1::MemberMetrics& member : metrics.members()) {
    rows += ScoreRow(member.name(), member.accuracy(), member.log_loss(), metrics.images(), start,
                     EffortOf(data.run, member.name()), false);
  }
  const std::string body = absl::StrCat(
      "<div class=\"card scroll\"><table><thead><tr><th>Model</th><th class=\"num\">Accuracy</th>"
      "<th><span class=\"axis\"><span>",
      absl::StrFormat("%.0f %%", 100 * start),
      "</span><span>100 %</span></span></th><th class=\"num\">95 % interval</th>"
      "<th class=\"num\">Log loss</th><th class=\"num\">Epochs</th><th class=\"num\">Time</th></tr>"
      "</thead><tbody>\n",
      rows, "</tbody></table></div>\n");
  return Section(
      "scores", "Members against the ensemble",
      absl::StrCat("On the ", Grouped(metrics.images()),
                   " validation pictures. Bars are 95 % Wilson intervals: models whose bars "
                   "overlap widely are not told apart by so many pictures."),
      body);
}

std::string Confusion(const ReportData& data) {
  const v1::EnsembleMetrics& metrics = data.run.metrics();
  const auto& classes = data.run.ensemble().classes();
  const int k = classes.size();
  if (metrics.images() == 0 || !HasConfusion(metrics, k)) return "";
  std::string html =
      absl::StrCat("<div class=\"card scroll\"><table class=\"matrix\" style=\"--k:", k,
                   "\"><thead><tr><th>truth</th>");
  for (const std::string& name : classes) {
    absl::StrAppend(&html, "<th scope=\"col\" title=\"", EscapeHtml(name), "\">", EscapeHtml(name),
                    "</th>");
  }
  html += "</tr></thead><tbody>\n";
  for (int row = 0; row < k; ++row) {
    int total = 0;
    for (int column = 0; column < k; ++column) total += metrics.confusion(row * k + column);
    absl::StrAppend(&html, "<tr><th scope=\"row\">", EscapeHtml(classes[row]), "</th>");
    for (int column = 0; column < k; ++column) {
      html += ConfusionCell(metrics.confusion(row * k + column), total, row == column);
    }
    html += "</tr>\n";
  }
  return Section("confusion", "Confusion matrix",
                 "Rows are the true classes, columns what the ensemble says.",
                 html + "</tbody></table></div>\n");
}

std::string Curves(const ReportData& data) {
  std::string body;
  int number = 0;
  for (const v1::MemberSpec& member : data.run.plan().members()) {
    const std::string id = absl::StrCat(number++);
    absl::StrAppend(&body, "<div class=\"card\"><h3>", EscapeHtml(member.name()),
                    "</h3><div class=\"grid2\">\n",
                    Chart("chart-loss-" + id, "Loss of " + member.name() + " by epoch"),
                    Chart("chart-accuracy-" + id, "Accuracy of " + member.name() + " by epoch"),
                    "</div>", HistoryTable(data.run, member.name()), "</div>\n");
  }
  if (body.empty()) return "";
  return Section(
      "curves", "Training curves",
      "Loss on the left, accuracy on the right. The training loss has the head's L2 term, "
      "label smoothing and mixed labels in it, so it may lie above the validation loss.",
      absl::StrCat("<div class=\"stack\">\n", body, "</div>\n"));
}

std::string Dataset(const ReportData& data) {
  const v1::DatasetSummary& dataset = data.run.dataset();
  std::vector<std::pair<std::string, std::string>> quarantined, duplicates;
  for (const v1::QuarantinedFile& f : dataset.quarantined())
    quarantined.emplace_back(f.file(), f.reason());
  for (const v1::DuplicateFile& f : dataset.duplicates())
    duplicates.emplace_back(f.file(), f.kept());
  const bool undersampled =
      std::any_of(data.run.plan().stages().begin(), data.run.plan().stages().end(),
                  [](const v1::StageSpec& stage) { return stage.undersample(); });
  const std::string body = absl::StrCat(
      "<div class=\"card\"><div class=\"grid2\"><div><h3>Before and after undersampling</h3>",
      Chart("chart-classes", "Pictures of every class, found and after undersampling"),
      "</div><div><h3>Training and validation</h3>",
      Chart("chart-splits", "Pictures of every class in training and validation"), "</div></div>",
      ClassTable(dataset),
      PairTable(absl::StrCat("Quarantined files: ", quarantined.size()), "File", "Reason",
                quarantined),
      PairTable(absl::StrCat("Byte-identical copies dropped: ", duplicates.size()), "Dropped",
                "Kept", duplicates),
      "</div>\n");
  return Section("data", "Data",
                 undersampled
                     ? "Stages that undersample cut every class down to the size of the smallest."
                     : "No stage of this recipe undersamples; the second bar shows what it "
                       "would leave.",
                 body);
}

std::string Previews(const ReportData& data) {
  std::string body;
  if (!data.augmented.empty()) {
    absl::StrAppend(&body, "<div class=\"card\"><h3>Augmented</h3>", Gallery(data.augmented),
                    "</div>\n");
  }
  if (!data.mixed.empty()) {
    absl::StrAppend(&body, "<div class=\"card\"><h3>CutMix</h3>", Gallery(data.mixed), "</div>\n");
  }
  if (body.empty()) return "";
  return Section("previews", "What training saw",
                 "Pictures of the first stage's first epoch, as the members were given them.",
                 absl::StrCat("<div class=\"stack\">\n", body, "</div>\n"));
}

std::string Predictions(const ReportData& data) {
  if (data.validation.empty()) return "";
  std::string body = "<div class=\"card\"><ul class=\"pictures\">\n";
  for (const ReportPrediction& p : data.validation) body += Figure(p);
  body += "</ul></div>\n";
  const std::string lead =
      data.validation_wrong == 0
          ? "No validation picture is wrong. The least certain ones:"
          : absl::StrCat(data.validation_wrong,
                         data.validation_wrong == 1 ? " is wrong" : " are wrong",
                         "; the surest mistakes come first, then the least certain right answers.");
  return Section("predictions", "Predictions on validation pictures", lead, body);
}

std::string TestPictures(const ReportData& data) {
  if (data.test_counts.empty()) return "";
  std::string body = absl::StrCat(
      "<div class=\"stack\"><div class=\"card\"><h3>Predicted classes</h3>",
      Chart("chart-test", "Number of test pictures predicted as each class"), "</div>\n");
  if (!data.test.empty()) {
    body += "<div class=\"card\"><ul class=\"pictures\">\n";
    for (const ReportPrediction& p : data.test) body += Figure(p);
    body += "</ul></div>\n";
  }
  return Section(
      "test", "Test pictures",
      "Their classes are unknown; <code>submission.csv</code> has the answer for each. The "
      "first ones by file name:",
      body + "</div>\n");
}

std::string Provenance(const ReportData& data) {
  std::string body = "<div class=\"stack\">\n";
  const std::string attempts = AttemptRows(data.run);
  if (!attempts.empty()) {
    absl::StrAppend(&body,
                    "<div class=\"card scroll\"><h3>Devices and attempts</h3><table><thead><tr>"
                    "<th>Member</th><th>Stage</th><th>Trainer</th><th>Device</th>"
                    "<th class=\"num\">Epoch:step</th></tr></thead><tbody>\n",
                    attempts, "</tbody></table></div>\n");
  }
  absl::StrAppend(&body, "<div class=\"card scroll\"><h3>Digests (SHA-256)</h3><table><tbody>\n",
                  DigestRows(data.run), "</tbody></table></div>\n");
  std::string notes = Inexact(data.run);
  for (const std::string& note : data.notes)
    absl::StrAppend(&notes, "<li>", EscapeHtml(note), "</li>\n");
  if (!notes.empty()) {
    absl::StrAppend(&body, "<div class=\"card\"><h3>Notes</h3><ul class=\"notes\">", notes,
                    "</ul></div>\n");
  }
  absl::StrAppend(&body, "<pre aria-label=\"Recipe\">", EscapeHtml(RecipeToYaml(data.run.plan())),
                  "</pre>\n");
  return Section(
      "provenance", "Recipe and devices",
      "What is needed to do the same again. <code>recipe.yaml</code> beside this page can be "
      "given to <code>atelier train --recipe</code>.",
      body + "</div>\n");
}

}  // namespace atelier::cli::report
