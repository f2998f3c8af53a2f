// atelier weights export: a backbone's or a trained member's weights for other tools.
#include "services/cli/export/export_command.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/nn/pixel_scaling.h"
#include "common/rpc/channel.h"
#include "services/cli/ensemble_source.h"
#include "services/cli/export/keras_config.h"
#include "services/cli/export/onnx_export.h"
#include "services/cli/export/weights_file.h"
#include "services/cli/format.h"
#include "services/cli/run_directory.h"
#include "services/cli/run_json.h"
#include "services/cli/weights/helper_process.h"
#include "services/coordinator/client.h"

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;
using exporting::WeightsFile;

constexpr char kExamples[] =
    "  atelier weights export xception --output xception.onnx\n"
    "  atelier weights export w.safetensors --format keras --output w.weights.h5\n"
    "  atelier weights export --ensemble run1 --member xception --output x.keras\n"
    "  atelier weights export --ensemble run1 --member xception --output x.onnx --fold \\\n"
    "      --layout nhwc --with-preprocessing --batch 8";

struct Options {
  std::string source;
  std::string ensemble;
  std::string member;
  std::string coordinator;
  std::string format;
  std::string output;
  std::string backbone;
  bool no_head = false;
  int size = 0;
  std::string preprocess;
  int batch = 0;
  std::string layout = "nchw";
  bool fold = false;
  bool with_preprocessing = false;
  bool json = false;
};

// What is exported, wherever it comes from.
struct Subject {
  WeightsFile weights;
  v1::Scaling scaling = v1::AUTO;
  int size = 0;
  double dropout = 0;
  std::vector<std::string> classes;
  std::string digest;  // of the file the tensors are from
};

std::string FormatOf(const Options& options) {
  if (!options.format.empty()) return options.format;
  for (const auto& [ending, format] :
       {std::pair{".onnx", "onnx"}, std::pair{".keras", "keras"}, std::pair{".h5", "keras"},
        std::pair{".safetensors", "safetensors"}}) {
    if (options.output.ends_with(ending)) return format;
  }
  return "";
}

absl::StatusOr<v1::EnsembleMember> FindMember(const v1::EnsembleVersion& version,
                                              const std::string& name) {
  std::vector<std::string> names;
  for (const v1::EnsembleMember& member : version.members()) {
    if (member.name() == name) return member;
    names.push_back(member.name());
  }
  if (name.empty() && names.size() == 1) return version.members(0);
  return absl::InvalidArgumentError(
      absl::StrCat("say which member with --member: ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<std::string> MemberBytes(const ServableEnsemble& ensemble,
                                        const v1::EnsembleMember& member) {
  if (!ensemble.coordinator.empty()) {
    const auto channel = rpc::MakeTcpChannelFactory()->Connect(ensemble.coordinator);
    return coordinator::RegistryClient::Create(channel)->GetBytes(member.weights_digest());
  }
  ATELIER_ASSIGN_OR_RETURN(const RunDirectory run, RunDirectory::Open(ensemble.run_directory));
  ATELIER_ASSIGN_OR_RETURN(std::string bytes, ReadFile(run.weights(member.weights_digest())));
  if (Sha256Hex(bytes) != member.weights_digest()) {
    return absl::DataLossError(
        absl::StrCat("the weights of ", member.name(), " are damaged: their digest differs"));
  }
  return bytes;
}

absl::StatusOr<Subject> FromMember(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const ServableEnsemble ensemble,
                           ResolveEnsemble(options.ensemble, options.coordinator));
  ATELIER_ASSIGN_OR_RETURN(const v1::EnsembleMember member,
                           FindMember(ensemble.version, options.member));
  ATELIER_ASSIGN_OR_RETURN(std::string bytes, MemberBytes(ensemble, member));
  Subject subject;
  ATELIER_ASSIGN_OR_RETURN(
      subject.weights,
      exporting::ReadWeights(std::move(bytes), {member.model().backbone(), !options.no_head}));
  subject.scaling = member.model().scaling();
  subject.size = member.model().image().size();
  subject.dropout = static_cast<double>(member.model().head().dropout());
  subject.digest = member.weights_digest();
  if (!options.no_head) {
    subject.classes.assign(ensemble.version.classes().begin(), ensemble.version.classes().end());
  }
  return subject;
}

// A file, or a backbone's weights in the cache.
absl::StatusOr<Subject> FromFile(const Options& options) {
  fs::path path = options.source;
  std::string backbone = options.backbone;
  std::error_code error;
  if (!fs::exists(path, error) && nn::FindBackbone(options.source).ok()) {
    if (backbone.empty()) backbone = options.source;
    path = WeightsCache() / (options.source + ".safetensors");
    if (!fs::exists(path, error)) {
      return absl::NotFoundError(absl::StrCat("no weights of ", options.source,
                                              " here: atelier weights fetch ", options.source));
    }
  }
  ATELIER_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  if (bytes.size() < 9 || bytes[8] != '{') {
    return absl::InvalidArgumentError(
        absl::StrCat(path.filename().string(),
                     " is no safetensors file; first run atelier weights "
                     "convert ",
                     path.string(), " --output W.safetensors"));
  }
  Subject subject;
  subject.digest = Sha256Hex(bytes);
  ATELIER_ASSIGN_OR_RETURN(subject.weights,
                           exporting::ReadWeights(std::move(bytes), {backbone, !options.no_head}));
  subject.size = subject.weights.backbone.default_size;
  return subject;
}

exporting::Preprocessing PreprocessingOf(const Subject& subject) {
  const auto scaling = nn::ScalingOf(subject.weights.backbone.id, subject.scaling);
  return {scaling->mean, scaling->divisor};  // the backbone is known
}

const char* PreprocessName(v1::Scaling scaling) {
  return scaling == v1::NOTEBOOK ? "notebook" : "auto";
}

absl::Status ExportSafetensors(const Options& options, const Subject& subject) {
  std::map<std::string, std::string> metadata = {
      {"format", "atelier-weights-1"},
      {"backbone", subject.weights.backbone.id},
      {"input", exporting::FormulaOf(PreprocessingOf(subject))},
      {"preprocess", PreprocessName(subject.scaling)},
      {"source_sha256", subject.digest}};
  if (!subject.classes.empty()) metadata["classes"] = absl::StrJoin(subject.classes, ",");
  return WriteFileAtomically(options.output, exporting::ToSafetensors(subject.weights, metadata));
}

// HDF5 is atelier-convert's business.
absl::Status ExportKeras(const Options& options, const Subject& subject) {
  ATELIER_ASSIGN_OR_RETURN(const fs::path converter, SiblingProgram("atelier-convert"));
  const std::string given = absl::StrCat(options.output, ".", ::getpid(), ".safetensors");
  ATELIER_RETURN_IF_ERROR(
      WriteFileAtomically(given, exporting::ToSafetensors(subject.weights, {})));
  std::vector<std::string> arguments = {
      converter.string(),          given,      "--to-keras",  "--backbone",
      subject.weights.backbone.id, "--output", options.output};
  if (subject.scaling == v1::NOTEBOOK) arguments.push_back("--notebook");
  const auto result = RunProcess(arguments);
  std::error_code ignored;
  fs::remove(given, ignored);
  ATELIER_RETURN_IF_ERROR(result.status());
  if (result->exit_code == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(result->err.empty() ? "atelier-convert failed" : result->err);
}

absl::Status ExportOnnx(const Options& options, const Subject& subject) {
  exporting::OnnxOptions onnx;
  onnx.height = onnx.width = subject.size;
  onnx.batch = options.batch;
  onnx.nhwc = options.layout == "nhwc";
  onnx.fold = options.fold;
  onnx.preprocessing = PreprocessingOf(subject);
  onnx.with_preprocessing = options.with_preprocessing;
  onnx.auto_scaling = subject.scaling != v1::NOTEBOOK;
  onnx.classes = subject.classes;
  onnx.metadata = {{"preprocess", PreprocessName(subject.scaling)},
                   {"weights_sha256", subject.digest}};
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, exporting::ExportOnnx(subject.weights, onnx));
  return WriteFileAtomically(options.output, bytes);
}

Json FactsOf(const Options& options, const Subject& subject, const std::string& format) {
  std::error_code error;
  Json facts = {{"output", options.output},
                {"format", format},
                {"bytes", fs::file_size(options.output, error)},
                {"backbone", subject.weights.backbone.id},
                {"size", subject.size},
                {"hidden_units", subject.weights.head.hidden_units},
                {"classes", subject.weights.head.classes},
                {"preprocess", PreprocessName(subject.scaling)},
                {"input", exporting::FormulaOf(PreprocessingOf(subject))},
                {"weights_sha256", subject.digest}};
  if (format == "keras") {
    facts["python"] =
        exporting::KerasScript(subject.weights, {.file = options.output,
                                                 .size = subject.size,
                                                 .dropout = subject.dropout,
                                                 .preprocessing = PreprocessingOf(subject),
                                                 .auto_scaling = subject.scaling != v1::NOTEBOOK});
  }
  return facts;
}

absl::Status Export(const Options& options, const std::string& format) {
  ATELIER_ASSIGN_OR_RETURN(Subject subject,
                           options.source.empty() ? FromMember(options) : FromFile(options));
  if (options.size != 0) subject.size = options.size;
  if (!options.preprocess.empty()) {
    subject.scaling = options.preprocess == "notebook" ? v1::NOTEBOOK : v1::AUTO;
  }
  const absl::Status written = format == "onnx"    ? ExportOnnx(options, subject)
                               : format == "keras" ? ExportKeras(options, subject)
                                                   : ExportSafetensors(options, subject);
  ATELIER_RETURN_IF_ERROR(written);
  const Json facts = FactsOf(options, subject, format);
  const int64_t classes = subject.weights.head.classes;
  Say(absl::StrCat("wrote ", options.output, ": ", subject.weights.backbone.id,
                   classes == 0 ? ", no head" : absl::StrCat(" with ", classes, " classes"), ", ",
                   Bytes(facts["bytes"].get<int64_t>())));
  if (options.json) {
    PrintJson(facts);
  } else if (facts.contains("python")) {
    std::fputs(facts["python"].get_ref<const std::string&>().c_str(), stdout);
  }
  return absl::OkStatus();
}

int Run(const Options& options) {
  if (options.source.empty() == options.ensemble.empty()) {
    return Misuse(absl::InvalidArgumentError("say either WEIGHTS or --ensemble with --member"));
  }
  const std::string format = FormatOf(options);
  if (format.empty()) {
    return Misuse(absl::InvalidArgumentError(
        "say the --format: safetensors, keras or onnx (or end --output in .onnx, .keras, "
        ".weights.h5 or .safetensors)"));
  }
  const bool onnx_only =
      options.fold || options.with_preprocessing || options.batch != 0 || options.layout != "nchw";
  if (onnx_only && format != "onnx") {
    return Misuse(absl::InvalidArgumentError(
        "--fold, --batch, --layout and --with-preprocessing go with ONNX only"));
  }
  return ExitCode(Export(options, format));
}

void AddSubjectOptions(CLI::App& verb, Options& options) {
  verb.add_option("WEIGHTS", options.source,
                  "A safetensors file, or a backbone whose weights are in the cache");
  verb.add_option("--ensemble", options.ensemble, "Export a trained member of this instead")
      ->type_name("RUN|NAME@VERSION");
  verb.add_option("--member", options.member, "Which member of the ensemble");
  verb.add_option("--coordinator", options.coordinator, "Look the ensemble up there")
      ->type_name("HOST:PORT");
  verb.add_option("--backbone", options.backbone, "By default what the file says it is");
  verb.add_flag("--no-head", options.no_head, "Leave out a head that is there");
}

void AddFormatOptions(CLI::App& verb, Options& options) {
  verb.add_option("--format", options.format, "By default by the output's ending")
      ->check(CLI::IsMember({"safetensors", "keras", "onnx"}));
  verb.add_option(
          "--output,-o", options.output,
          "The file to write; for Keras its ending chooses tensors (.weights.h5) or a whole "
          "model (.keras)")
      ->required();
  verb.add_option("--size", options.size,
                  "Pixels a side; by default the member's, or those of the backbone's weights")
      ->check(CLI::Range(1, 4096));
  verb.add_option("--preprocess", options.preprocess, "By default the member's, or auto")
      ->check(CLI::IsMember({"auto", "notebook"}));
  verb.add_option("--batch", options.batch, "ONNX: pictures a call; 0 (default): any number")
      ->check(CLI::Range(0, 65536));
  verb.add_option("--layout", options.layout, "ONNX: of the input")
      ->check(CLI::IsMember({"nchw", "nhwc"}));
  verb.add_flag("--fold", options.fold, "ONNX: batch norms multiplied into the convolutions");
  verb.add_flag("--with-preprocessing", options.with_preprocessing,
                "ONNX: takes uint8 pixels, preprocesses inside");
  verb.add_flag("--json", options.json, "One JSON document on standard output");
}

}  // namespace

void AddWeightsExport(CLI::App& app, Context& context) {
  CLI::App* verb = AddVerb(*app.get_subcommand("weights"), "export",
                           "Weights for Keras, ONNX or safetensors readers", kExamples);
  auto options = std::make_shared<Options>();
  AddSubjectOptions(*verb, *options);
  AddFormatOptions(*verb, *options);
  verb->callback([options, &context] { context.exit_code = Run(*options); });
}

}  // namespace atelier::cli
