#include "services/cli/recipe/recipe.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/recipe/recipe_walker.h"

namespace atelier::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr uint64_t kMaxRecipeBytes = 1 << 20;  // a recipe is a page; anything larger is no recipe

absl::StatusOr<YAML::Node> LoadYaml(std::string_view yaml, const std::string& file) {
  try {
    return YAML::Load(std::string(yaml));
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ":", e.mark.line + 1, ":", e.mark.column + 1, ": ", e.msg));
  }
}

absl::Status FillSafely(const YAML::Node& node, const std::string& file, Message& message) {
  try {
    return FillMessage(node, file, message);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", e.what()));
  }
}

// The element of a repeated message that `key` names: a number from 0, or its field `name`.
absl::StatusOr<Message*> Element(Message& message, const FieldDescriptor& field,
                                 const std::string& key) {
  const Reflection& r = *message.GetReflection();
  const int size = r.FieldSize(message, &field);
  int index = 0;
  std::vector<std::string> names;
  if (absl::SimpleAtoi(key, &index)) {
    if (index >= 0 && index < size) return r.MutableRepeatedMessage(&message, &field, index);
  }
  const FieldDescriptor* name = field.message_type()->FindFieldByName("name");
  for (int i = 0; i < size && name != nullptr; ++i) {
    Message* element = r.MutableRepeatedMessage(&message, &field, i);
    names.push_back(element->GetReflection()->GetString(*element, name));
    if (names.back() == key) return element;
  }
  return absl::InvalidArgumentError(absl::StrCat("no \"", Shortened(key), "\" in ", field.name(),
                                                 "; there are ", size, ": ",
                                                 Shortened(absl::StrJoin(names, ", "))));
}

absl::Status ApplyAt(Message& message, const std::vector<std::string>& path, size_t at,
                     const YAML::Node& value, const std::string& source) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(path[at]);
  if (field == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown field \"", Shortened(path[at]), "\" of ", message.GetDescriptor()->name(),
        "; known: ", FieldNames(*message.GetDescriptor())));
  }
  if (at + 1 == path.size()) return FillField(value, source, *field, message);
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", Shortened(path[at]), "\" has no fields of its own"));
  }
  if (!field->is_repeated()) {
    return ApplyAt(*message.GetReflection()->MutableMessage(&message, field), path, at + 1, value,
                   source);
  }
  ATELIER_ASSIGN_OR_RETURN(Message * element, Element(message, *field, path[at + 1]));
  if (at + 2 == path.size()) {
    element->Clear();
    return FillMessage(value, source, *element);
  }
  return ApplyAt(*element, path, at + 2, value, source);
}

// The fewest digits that read back to the same value: 0.0002, not 0.000199999995.
template <typename T>
std::string Shortest(T value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

void EmitScalar(YAML::Emitter& out, const Message& m, const FieldDescriptor& f, int index) {
  const Reflection& r = *m.GetReflection();
  const bool many = index >= 0;
  switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      out << (many ? r.GetRepeatedInt32(m, &f, index) : r.GetInt32(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      out << (many ? r.GetRepeatedInt64(m, &f, index) : r.GetInt64(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      out << (many ? r.GetRepeatedUInt32(m, &f, index) : r.GetUInt32(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      out << (many ? r.GetRepeatedUInt64(m, &f, index) : r.GetUInt64(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      out << Shortest(many ? r.GetRepeatedFloat(m, &f, index) : r.GetFloat(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      out << Shortest(many ? r.GetRepeatedDouble(m, &f, index) : r.GetDouble(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      out << (many ? r.GetRepeatedBool(m, &f, index) : r.GetBool(m, &f));
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      out << absl::AsciiStrToLower(
          (many ? r.GetRepeatedEnum(m, &f, index) : r.GetEnum(m, &f))->name());
      break;
    default:
      out << YAML::DoubleQuoted << (many ? r.GetRepeatedString(m, &f, index) : r.GetString(m, &f));
  }
}

void EmitMessage(YAML::Emitter& out, const Message& message) {
  const Reflection& r = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  r.ListFields(message, &fields);
  out << YAML::BeginMap;
  for (const FieldDescriptor* field : fields) {
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    out << YAML::Key << field->name() << YAML::Value;
    if (!field->is_repeated()) {
      if (nested) {
        EmitMessage(out, r.GetMessage(message, field));
      } else {
        EmitScalar(out, message, *field, -1);
      }
      continue;
    }
    if (!nested) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (int i = 0; i < r.FieldSize(message, field); ++i) {
      if (nested) {
        EmitMessage(out, r.GetRepeatedMessage(message, field, i));
      } else {
        EmitScalar(out, message, *field, i);
      }
    }
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
}

}  // namespace

absl::StatusOr<v1::RunPlan> ParseRecipe(std::string_view yaml, std::string_view file) {
  const std::string source(file);
  ATELIER_ASSIGN_OR_RETURN(const YAML::Node node, LoadYaml(yaml, source));
  v1::RunPlan plan;
  ATELIER_RETURN_IF_ERROR(FillSafely(node, source, plan));
  if (plan.stages().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": a recipe needs `stages`"));
  }
  return plan;
}

absl::StatusOr<v1::RunPlan> LoadRecipe(const std::string& name_or_file) {
  std::vector<std::string> names;
  for (const BuiltinRecipe& recipe : BuiltinRecipes()) {
    names.emplace_back(recipe.name);
    if (recipe.name != name_or_file) continue;
    ATELIER_ASSIGN_OR_RETURN(v1::RunPlan plan,
                             ParseRecipe(recipe.yaml, absl::StrCat("<", name_or_file, ">")));
    plan.set_recipe(name_or_file);
    return plan;
  }
  const absl::StatusOr<std::string> yaml = ReadFile(name_or_file, kMaxRecipeBytes);
  if (!yaml.ok()) {
    return absl::Status(yaml.status().code(),
                        absl::StrCat("no recipe \"", name_or_file, "\": built in are ",
                                     absl::StrJoin(names, ", "), "; anything else is a YAML file (",
                                     std::string(yaml.status().message()), ")"));
  }
  ATELIER_ASSIGN_OR_RETURN(v1::RunPlan plan, ParseRecipe(*yaml, name_or_file));
  if (plan.recipe().empty()) {
    plan.set_recipe(std::filesystem::path(name_or_file).filename().string());
  }
  return plan;
}

absl::Status ApplyOverride(v1::RunPlan& plan, const std::string& override_text) {
  const size_t equals = override_text.find('=');
  const std::string source = absl::StrCat("--set ", Shortened(override_text));
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(source + ": expected PATH=VALUE, e.g. batch_size=16");
  }
  const std::vector<std::string> path = absl::StrSplit(override_text.substr(0, equals), '.');
  ATELIER_ASSIGN_OR_RETURN(const YAML::Node value,
                           LoadYaml(override_text.substr(equals + 1), source));
  try {
    const absl::Status status = ApplyAt(plan, path, 0, value, source);
    if (!status.ok() && status.message().find(source) == absl::string_view::npos) {
      return Annotate(status, source);
    }
    return status;
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", e.what()));
  }
}

std::string RecipeToYaml(const v1::RunPlan& plan) {
  YAML::Emitter out;
  EmitMessage(out, plan);
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace atelier::cli
