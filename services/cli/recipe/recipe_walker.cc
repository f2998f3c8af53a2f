#include "services/cli/recipe/recipe_walker.h"

#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace atelier::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status Error(const YAML::Node& node, const std::string& file, const std::string& text) {
  const YAML::Mark mark = node.Mark();
  if (mark.is_null()) return absl::InvalidArgumentError(absl::StrCat(file, ": ", text));
  return absl::InvalidArgumentError(
      absl::StrCat(file, ":", mark.line + 1, ":", mark.column + 1, ": ", text));
}

std::string KindOf(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      return "a map";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Scalar:
      return absl::StrCat("\"", Shortened(node.Scalar()), "\"");
    default:
      return "nothing";
  }
}

absl::Status Mistyped(const YAML::Node& node, const std::string& file, const FieldDescriptor& field,
                      std::string_view expected) {
  return Error(
      node, file,
      absl::StrCat(field.name(), " must be ", std::string(expected), ", but is ", KindOf(node)));
}

std::string EnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string name = absl::AsciiStrToLower(type.value(i)->name());
    if (name.find("unspecified") == std::string::npos) names.push_back(name);
  }
  return absl::StrJoin(names, ", ");
}

// yaml-cpp writes U+FFFD for Unicode's noncharacters: a run's recipe would not be what it ran with.
bool SurvivesWriting(const std::string& text) {
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;  // what it takes where plain text will not do
  return YAML::Load(out.c_str()).Scalar() == text;
}

// The value to set, whichever way the field is set (singular or added to a list).
class ScalarFiller {
 public:
  ScalarFiller(const YAML::Node& node, const std::string& file, const FieldDescriptor& field,
               Message& message)
      : node_(node), file_(file), field_(field), message_(message) {}

  absl::Status Fill() {
    if (!node_.IsScalar()) return Mistyped(node_, file_, field_, Expected());
    const std::string& text = node_.Scalar();
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return FillInteger<int32_t>(text);
      case FieldDescriptor::CPPTYPE_INT64:
        return FillInteger<int64_t>(text);
      case FieldDescriptor::CPPTYPE_UINT32:
        return FillInteger<uint32_t>(text);
      case FieldDescriptor::CPPTYPE_UINT64:
        return FillInteger<uint64_t>(text);
      case FieldDescriptor::CPPTYPE_FLOAT:
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return FillReal(text);
      case FieldDescriptor::CPPTYPE_BOOL:
        return FillBool();
      case FieldDescriptor::CPPTYPE_ENUM:
        return FillEnum(text);
      case FieldDescriptor::CPPTYPE_STRING:
        return FillString(text);
      default:
        return Mistyped(node_, file_, field_, "of another kind");
    }
  }

 private:
  std::string Expected() const {
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_FLOAT:
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return "a number";
      case FieldDescriptor::CPPTYPE_BOOL:
        return "true or false";
      case FieldDescriptor::CPPTYPE_ENUM:
        return absl::StrCat("one of ", EnumNames(*field_.enum_type()));
      case FieldDescriptor::CPPTYPE_STRING:
        return "a text";
      default:
        return "a whole number";
    }
  }

  template <typename T>
  absl::Status FillInteger(const std::string& text) {
    T value = 0;
    if (!absl::SimpleAtoi(text, &value)) {
      return Mistyped(node_, file_, field_,
                      absl::StrCat("a whole number from ", std::numeric_limits<T>::min(), " to ",
                                   std::numeric_limits<T>::max()));
    }
    const google::protobuf::Reflection& r = *message_.GetReflection();
    const bool add = field_.is_repeated();
    if constexpr (std::is_same_v<T, int32_t>) {
      add ? r.AddInt32(&message_, &field_, value) : r.SetInt32(&message_, &field_, value);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      add ? r.AddInt64(&message_, &field_, value) : r.SetInt64(&message_, &field_, value);
    } else if constexpr (std::is_same_v<T, uint32_t>) {
      add ? r.AddUInt32(&message_, &field_, value) : r.SetUInt32(&message_, &field_, value);
    } else {
      add ? r.AddUInt64(&message_, &field_, value) : r.SetUInt64(&message_, &field_, value);
    }
    return absl::OkStatus();
  }

  absl::Status FillReal(const std::string& text) {
    double value = 0;
    if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
      return Mistyped(node_, file_, field_, Expected());
    }
    const google::protobuf::Reflection& r = *message_.GetReflection();
    const bool add = field_.is_repeated();
    if (field_.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
      if (std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
        return Mistyped(node_, file_, field_, "a number that fits a float");
      }
      const auto single = static_cast<float>(value);
      add ? r.AddFloat(&message_, &field_, single) : r.SetFloat(&message_, &field_, single);
    } else {
      add ? r.AddDouble(&message_, &field_, value) : r.SetDouble(&message_, &field_, value);
    }
    return absl::OkStatus();
  }

  absl::Status FillBool() {
    bool value = false;
    if (!YAML::convert<bool>::decode(node_, value))
      return Mistyped(node_, file_, field_, Expected());
    const google::protobuf::Reflection& r = *message_.GetReflection();
    field_.is_repeated() ? r.AddBool(&message_, &field_, value)
                         : r.SetBool(&message_, &field_, value);
    return absl::OkStatus();
  }

  absl::Status FillEnum(const std::string& text) {
    const EnumValueDescriptor* value = nullptr;
    if (text == absl::AsciiStrToLower(text)) {
      value = field_.enum_type()->FindValueByName(absl::AsciiStrToUpper(text));
    }
    if (value == nullptr || value->name().find("UNSPECIFIED") != std::string::npos) {
      return Mistyped(node_, file_, field_, Expected());
    }
    const google::protobuf::Reflection& r = *message_.GetReflection();
    field_.is_repeated() ? r.AddEnum(&message_, &field_, value)
                         : r.SetEnum(&message_, &field_, value);
    return absl::OkStatus();
  }

  absl::Status FillString(const std::string& text) {
    if (!IsUtf8(text)) {
      return Error(node_, file_,
                   absl::StrCat(field_.name(), " is not UTF-8: save the file as UTF-8"));
    }
    if (!SurvivesWriting(text)) {
      return Error(
          node_, file_,
          absl::StrCat(field_.name(), " has a character that YAML cannot write: U+FFFF or ",
                       "another one that Unicode keeps for itself"));
    }
    const google::protobuf::Reflection& r = *message_.GetReflection();
    field_.is_repeated() ? r.AddString(&message_, &field_, text)
                         : r.SetString(&message_, &field_, text);
    return absl::OkStatus();
  }

  const YAML::Node& node_;
  const std::string& file_;
  const FieldDescriptor& field_;
  Message& message_;
};

absl::Status FillOne(const YAML::Node& node, const std::string& file, const FieldDescriptor& field,
                     Message& message) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    return ScalarFiller(node, file, field, message).Fill();
  }
  if (!node.IsMap()) {
    return Mistyped(node, file, field,
                    absl::StrCat("a map with fields of ", field.message_type()->name(), " (",
                                 FieldNames(*field.message_type()), ")"));
  }
  const google::protobuf::Reflection& r = *message.GetReflection();
  Message* inner =
      field.is_repeated() ? r.AddMessage(&message, &field) : r.MutableMessage(&message, &field);
  return FillMessage(node, file, *inner);
}

}  // namespace

std::string Shortened(std::string_view text) {
  constexpr size_t kEnough = 200;
  if (text.size() <= kEnough) return std::string(text);
  return absl::StrCat(std::string(CutUtf8(text, kEnough)), "...");
}

std::string FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return absl::StrJoin(names, ", ");
}

absl::Status FillField(const YAML::Node& node, const std::string& file,
                       const FieldDescriptor& field, Message& message) {
  if (!field.is_repeated()) return FillOne(node, file, field, message);
  if (!node.IsSequence()) return Mistyped(node, file, field, "a list");
  message.GetReflection()->ClearField(&message, &field);
  for (const YAML::Node& item : node) {
    ATELIER_RETURN_IF_ERROR(FillOne(item, file, field, message));
  }
  return absl::OkStatus();
}

absl::Status FillMessage(const YAML::Node& node, const std::string& file, Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  if (!node.IsMap()) {
    return Error(node, file,
                 absl::StrCat("expected a map with fields of ", type.name(), " (", FieldNames(type),
                              "), found ", KindOf(node)));
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const YAML::Node& key = entry.first;
    if (!key.IsScalar()) {
      return Error(key, file, absl::StrCat("a field's name must be a text, found ", KindOf(key)));
    }
    const FieldDescriptor* field = type.FindFieldByName(key.Scalar());
    if (field == nullptr) {
      return Error(key, file,
                   absl::StrCat("unknown field \"", Shortened(key.Scalar()), "\" of ", type.name(),
                                "; known: ", FieldNames(type)));
    }
    if (!seen.insert(key.Scalar()).second) {
      return Error(key, file,
                   absl::StrCat("field \"", Shortened(key.Scalar()), "\" is given twice"));
    }
    ATELIER_RETURN_IF_ERROR(FillField(entry.second, file, *field, message));
  }
  return absl::OkStatus();
}

}  // namespace atelier::cli
