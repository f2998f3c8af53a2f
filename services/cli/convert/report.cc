// How a conversion is told: JSON for scripts, a short text for people.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "services/cli/convert/converter.h"

namespace atelier::convert {
namespace {

using Json = nlohmann::ordered_json;

// Names come from foreign files and may be no UTF-8.
std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json LeftOutAsJson(const std::vector<LeftOut>& left_out) {
  Json list = Json::array();
  for (const LeftOut& item : left_out) {
    list.push_back({{"name", item.name}, {"shape", item.shape}, {"reason", item.reason}});
  }
  return list;
}

// One line a reason, with an example: a file has hundreds of counters.
std::string LeftOutAsText(const std::vector<LeftOut>& left_out) {
  std::vector<std::pair<std::string, std::vector<const LeftOut*>>> groups;
  for (const LeftOut& item : left_out) {
    auto it = groups.begin();
    while (it != groups.end() && it->first != item.reason) ++it;
    if (it == groups.end()) it = groups.insert(groups.end(), {item.reason, {}});
    it->second.push_back(&item);
  }
  std::string text;
  for (const auto& [reason, items] : groups) {
    absl::StrAppend(&text, "  left out ", items.size(), ": ", reason, " (", items.front()->name,
                    items.size() > 1 ? ", …)" : ")", "\n");
  }
  return text;
}

}  // namespace

std::string ReportAsJson(const ConvertReport& report) {
  Json mapped = Json::array();
  for (const MappedTensor& tensor : report.mapping.tensors) {
    mapped.push_back({{"target", tensor.target},
                      {"shape", tensor.target_shape},
                      {"source", tensor.source.name},
                      {"source_shape", tensor.source.shape},
                      {"source_dtype", tensor.source.dtype}});
  }
  return Dump({{"backbone", report.mapping.backbone},
               {"guessed", report.mapping.guessed},
               {"has_head", report.mapping.has_head},
               {"format", report.format},
               {"source", report.source_name},
               {"source_bytes", report.source_bytes},
               {"source_sha256", report.source_sha256},
               {"output_bytes", report.output_bytes},
               {"output_sha256", report.output_sha256},
               {"tensors", report.mapping.tensors.size()},
               {"parameters", report.parameters},
               {"mapped", mapped},
               {"left_out", LeftOutAsJson(report.mapping.left_out)}});
}

std::string ReportAsText(const ConvertReport& report) {
  std::string text = absl::StrFormat("%s%s from %s (%s, %.1f MB)\n", report.mapping.backbone,
                                     report.mapping.guessed ? " (guessed)" : "", report.source_name,
                                     report.format, static_cast<double>(report.source_bytes) / 1e6);
  absl::StrAppend(&text, "  mapped ", report.mapping.tensors.size(), " tensors, ",
                  report.parameters, " numbers, ",
                  report.mapping.has_head ? "with the head\n" : "no head\n");
  absl::StrAppend(&text, LeftOutAsText(report.mapping.left_out));
  absl::StrAppendFormat(&text, "  source sha256 %s\n  output sha256 %s (%.1f MB)\n",
                        report.source_sha256, report.output_sha256,
                        static_cast<double>(report.output_bytes) / 1e6);
  return text;
}

std::string SourceAsJson(const Source& source) {
  Json tensors = Json::array();
  for (const SourceContainer& container : source.containers) {
    for (const SourceLayer& layer : container.layers) {
      for (const SourceTensor& tensor : layer.tensors) {
        tensors.push_back(
            {{"name", tensor.name}, {"shape", tensor.shape}, {"dtype", tensor.dtype}});
      }
    }
  }
  return Dump(
      {{"format", source.format}, {"tensors", tensors}, {"other", LeftOutAsJson(source.left_out)}});
}

std::string SourceAsText(const Source& source) {
  std::string text = source.format + "\n";
  for (const SourceContainer& container : source.containers) {
    for (const SourceLayer& layer : container.layers) {
      for (const SourceTensor& tensor : layer.tensors) {
        absl::StrAppend(&text, "  ", tensor.name, " ", ShapeText(tensor.shape), " ", tensor.dtype,
                        "\n");
      }
    }
  }
  absl::StrAppend(&text, LeftOutAsText(source.left_out));
  return text;
}

}  // namespace atelier::convert
