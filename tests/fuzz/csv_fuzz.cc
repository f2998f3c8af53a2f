#include "services/data/csv.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using atelier::fuzz::Check;
  const auto rows = atelier::data::ParseCsv(atelier::fuzz::Bytes(data, size));
  atelier::fuzz::CheckRefusal(rows.status());
  if (!rows.ok()) return 0;
  // Quoting every field gives the same table back.
  std::string written;
  for (const auto& row : *rows) {
    Check(row.size() == rows->front().size(), "all rows have the first one's number of fields");
    for (size_t i = 0; i < row.size(); ++i) {
      written += i == 0 ? "\"" : ",\"";
      for (const char c : row[i]) written.append(c == '"' ? 2 : 1, c);
      written += '"';
    }
    written += "\r\n";
  }
  const auto again = atelier::data::ParseCsv(written);
  Check(again.ok() && *again == *rows, "a quoted table reads back equal");
  return 0;
}
