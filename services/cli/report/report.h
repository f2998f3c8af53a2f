// report.html: one file that opens offline. Charts are Chart.js, embedded; every name is escaped.
#pragma once

#include <string>
#include <vector>

#include "atelier/v1/coordinator.pb.h"

namespace atelier::cli {

struct ReportPicture {
  std::string png;  // bytes
  std::string caption;
};

// One picture with what the ensemble said of it.
struct ReportPrediction {
  std::string file;
  std::string truth;  // empty: a test picture
  std::string predicted;
  double probability = 0;  // of the predicted class
  std::string png;         // empty: no thumbnail
  bool wrong() const { return !truth.empty() && truth != predicted; }
};

struct ReportData {
  v1::Run run;
  std::vector<ReportPicture> augmented;
  std::vector<ReportPicture> mixed;          // CutMix
  std::vector<ReportPrediction> validation;  // the wrong ones first, most certain first
  int validation_wrong = 0;                  // of all, not only those shown
  std::vector<ReportPrediction> test;        // the first ones by file name
  std::vector<int> test_counts;              // predicted class -> pictures; empty: no test pictures
  std::vector<std::string> notes;            // what could not be had, for the reader
};

// Pure.
std::string RenderReport(const ReportData& data);

}  // namespace atelier::cli
