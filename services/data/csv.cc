#include "services/data/csv.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"

namespace atelier::data {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") at_ = 3;
  }

  absl::StatusOr<std::vector<std::vector<std::string>>> Run() {
    while (at_ < text_.size()) {
      const int row_line = line_;
      std::vector<std::string> row;
      bool more = true;
      while (more) {
        absl::Status status = Field(row, more);
        if (!status.ok()) return status;
      }
      if (row.size() == 1 && row[0].empty()) continue;
      if (!std::all_of(row.begin(), row.end(), IsUtf8)) {
        return absl::InvalidArgumentError(
            absl::StrCat("CSV line ", row_line, ": not UTF-8; save the table in that encoding"));
      }
      if (!rows_.empty() && row.size() != rows_.front().size()) {
        return absl::InvalidArgumentError(absl::StrCat("CSV line ", row_line, ": ", row.size(),
                                                       " fields, the first row has ",
                                                       rows_.front().size()));
      }
      rows_.push_back(std::move(row));
    }
    return std::move(rows_);
  }

 private:
  // One field; `more` says whether another one of the row follows.
  absl::Status Field(std::vector<std::string>& row, bool& more) {
    std::string value;
    if (at_ < text_.size() && text_[at_] == '"') {
      const int start = line_;
      ++at_;
      while (true) {
        if (at_ >= text_.size()) {
          return absl::InvalidArgumentError(
              absl::StrCat("CSV line ", start, ": the quote is not closed"));
        }
        const char c = text_[at_++];
        if (c == '\n') ++line_;
        if (c != '"') {
          value.push_back(c);
        } else if (at_ < text_.size() && text_[at_] == '"') {
          value.push_back('"');
          ++at_;
        } else {
          break;
        }
      }
      if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
        return absl::InvalidArgumentError(
            absl::StrCat("CSV line ", line_, ": text after a closing quote"));
      }
    } else {
      while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
        value.push_back(text_[at_++]);
      }
    }
    row.push_back(std::move(value));
    more = false;
    if (at_ >= text_.size()) return absl::OkStatus();
    if (text_[at_] == ',') {
      ++at_;
      more = true;
      return absl::OkStatus();
    }
    if (text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
    return absl::OkStatus();
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<std::string>>> ParseCsv(std::string_view text) {
  return Parser(text).Run();
}

}  // namespace atelier::data
