#include "services/cli/run_json.h"

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace atelier::cli {
namespace {

// JSON has no NaN; null says "not there".
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json TaskToJson(const v1::Task& task) {
  Json attempts = Json::array();
  for (const v1::Attempt& attempt : task.attempts()) {
    attempts.push_back({{"trainer", attempt.trainer()},
                        {"lease_epoch", attempt.lease_epoch()},
                        {"start_epoch", attempt.start().epoch()},
                        {"start_step", attempt.start().step()},
                        {"end_epoch", attempt.end().epoch()},
                        {"end_step", attempt.end().step()},
                        {"end", EndName(attempt.end_kind())},
                        {"error", attempt.error()},
                        {"device", attempt.device().name()},
                        {"started_unix_ms", attempt.started_unix_ms()},
                        {"ended_unix_ms", attempt.ended_unix_ms()}});
  }
  Json history = Json::array();
  for (const v1::EpochMetrics& epoch : task.result().history()) {
    history.push_back({{"epoch", epoch.epoch()},
                       {"loss", Number(epoch.loss())},
                       {"accuracy", Number(epoch.accuracy())},
                       {"val_loss", Number(epoch.val_loss())},
                       {"val_accuracy", Number(epoch.val_accuracy())},
                       {"learning_rate", Number(epoch.learning_rate())},
                       {"seconds", Number(epoch.seconds())}});
  }
  return {{"member", task.member()},
          {"stage", task.stage()},
          {"state", StateName(task.state())},
          {"attempts", std::move(attempts)},
          {"error", task.error()},
          {"checkpoint_epoch", task.checkpoint_cursor().epoch()},
          {"checkpoint_step", task.checkpoint_cursor().step()},
          {"weights_digest", task.result().weights_digest()},
          {"final_weights_digest", task.result().final_weights_digest()},
          {"validation_accuracy", Number(task.result().validation_accuracy())},
          {"validation_loss", Number(task.result().validation_loss())},
          {"stopped_early", task.result().stopped_early()},
          {"resumed_inexact", task.result().resumed_inexact()},
          {"history", std::move(history)}};
}

template <typename Enum>
std::string Lower(const std::string& name, const std::string& prefix, Enum value, Enum unset,
                  const std::string& unset_name) {
  if (value == unset) return unset_name;
  return absl::AsciiStrToLower(name.substr(prefix.size()));
}

}  // namespace

std::string ProtoToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  return status.ok() ? text : "{}\n";
}

absl::Status ProtoFromJson(const std::string& text, google::protobuf::Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // a newer Atelier may have written it
  const auto status = google::protobuf::util::JsonStringToMessage(text, &message, options);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("not a ", message.GetDescriptor()->name(), ": ", std::string(status.message())));
}

std::string StateName(v1::TaskState state) {
  return Lower(v1::TaskState_Name(state), "TASK_", state, v1::TASK_STATE_UNSPECIFIED, "waiting");
}

std::string StateName(v1::RunState state) {
  return Lower(v1::RunState_Name(state), "RUN_", state, v1::RUN_STATE_UNSPECIFIED, "unknown");
}

std::string EndName(v1::AttemptEnd end) {
  return Lower(v1::AttemptEnd_Name(end), "ATTEMPT_", end, v1::ATTEMPT_END_UNSPECIFIED, "running");
}

bool HasConfusion(const v1::EnsembleMetrics& metrics, int classes) {
  return metrics.confusion_size() > 0 &&
         metrics.confusion_size() == int64_t{classes} * int64_t{classes};
}

Json MetricsToJson(const v1::EnsembleMetrics& metrics, const std::vector<std::string>& classes) {
  Json confusion = Json::array();
  const auto k = static_cast<int>(classes.size());
  for (int row = 0; row < k && HasConfusion(metrics, k); ++row) {
    Json cells = Json::array();
    for (int column = 0; column < k; ++column) cells.push_back(metrics.confusion(row * k + column));
    confusion.push_back(std::move(cells));
  }
  Json members = Json::object();
  for (const v1::MemberMetrics& member : metrics.members()) {
    members[member.name()] = {{"accuracy", Number(member.accuracy())},
                              {"log_loss", Number(member.log_loss())}};
  }
  return {{"classes", classes},
          {"images", metrics.images()},
          {"ensemble",
           {{"accuracy", Number(metrics.accuracy())},
            {"log_loss", Number(metrics.log_loss())},
            {"confusion", std::move(confusion)},
            {"accuracy_low", Number(metrics.accuracy_low())},
            {"accuracy_high", Number(metrics.accuracy_high())}}},
          {"members", std::move(members)}};
}

Json EnsembleToJson(const v1::EnsembleVersion& ensemble) {
  Json members = Json::array();
  for (const v1::EnsembleMember& member : ensemble.members()) {
    members.push_back({{"name", member.name()},
                       {"backbone", member.model().backbone()},
                       {"size", member.model().image().size()},
                       {"weights_digest", member.weights_digest()},
                       {"validation_accuracy", Number(member.validation_accuracy())},
                       {"validation_loss", Number(member.validation_loss())}});
  }
  return {
      {"name", ensemble.name()},
      {"version", ensemble.version()},
      {"classes", std::vector<std::string>(ensemble.classes().begin(), ensemble.classes().end())},
      {"members", std::move(members)},
      {"run_id", ensemble.run_id()},
      {"created_unix_ms", ensemble.created_unix_ms()},
      {"validation_accuracy", Number(ensemble.validation_accuracy())},
      {"validation_loss", Number(ensemble.validation_loss())},
      {"validation_images", ensemble.validation_images()},
      {"preprocessing_digest", ensemble.preprocessing_digest()}};
}

Json RunToJson(const v1::Run& run) {
  Json tasks = Json::array();
  for (const v1::Task& task : run.tasks()) tasks.push_back(TaskToJson(task));
  Json json = {{"run_id", run.run_id()},
               {"name", run.plan().name()},
               {"state", StateName(run.state())},
               {"error", run.error()},
               {"recipe", run.plan().recipe()},
               {"dataset_digest", run.dataset().digest()},
               {"created_unix_ms", run.created_unix_ms()},
               {"ended_unix_ms", run.ended_unix_ms()},
               {"tasks", std::move(tasks)}};
  json["ensemble"] = run.has_ensemble() ? EnsembleToJson(run.ensemble()) : Json(nullptr);
  std::vector<std::string> classes(run.ensemble().classes().begin(),
                                   run.ensemble().classes().end());
  json["metrics"] =
      run.metrics().images() > 0 ? MetricsToJson(run.metrics(), classes) : Json(nullptr);
  return json;
}

void PrintJson(const Json& json) {
  // Names from a file system may hold bytes that are no UTF-8; they are replaced, not fatal.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace atelier::cli
