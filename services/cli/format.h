// How numbers, times and tables are written for people, and RFC 4180 for spreadsheets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace atelier::cli {

// "95.3 %"; "-" when not a number.
std::string Percent(double fraction);
// "95.3 % (91.0 to 97.6)": with the 95 % Wilson interval of round(fraction * n) of n.
std::string PercentWithInterval(double fraction, int n);
// "0:07", "12:03", "1:02:03".
std::string Duration(double seconds);
// "512 B", "81.4 MB".
std::string Bytes(int64_t bytes);
// "2026-11-24 09:12" in local time.
std::string LocalTime(int64_t unix_ms);
// "1,698".
std::string Grouped(int64_t n);

// A field quoted as RFC 4180 wants: in double quotes when it holds a comma, quote, CR or LF. A text
// that a spreadsheet would run as a formula (begins with = + - @ tab CR) is quoted as well,
// unchanged.
std::string CsvField(std::string_view text);
// Fields joined by commas, ended by "\n".
std::string CsvRow(const std::vector<std::string>& fields);

// Columns padded to their widest cell (by UTF-8 characters), two blanks between; the first row is
// the header. Columns named in `right` are right-aligned.
std::string Table(const std::vector<std::vector<std::string>>& rows,
                  const std::vector<size_t>& right = {});

// Characters, not bytes, of a UTF-8 text.
size_t TextWidth(std::string_view text);

// "&lt;a&gt;": for text and for attributes in double or single quotes.
std::string EscapeHtml(std::string_view text);

}  // namespace atelier::cli
