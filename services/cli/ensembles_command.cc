// atelier ensembles list|show|promote
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "services/cli/command.h"
#include "services/cli/ensemble_source.h"
#include "services/cli/format.h"
#include "services/cli/run_index.h"
#include "services/cli/run_json.h"
#include "services/coordinator/client.h"

namespace atelier::cli {
namespace {

struct Options {
  std::string ensemble;
  std::string coordinator;
  bool json = false;
};

struct Listed {
  v1::EnsembleVersion version;
  bool promoted = false;
  std::string directory;  // empty: in a coordinator's registry, or gone
};

absl::StatusOr<std::vector<Listed>> LoadAll(const Options& options) {
  std::vector<Listed> all;
  if (!options.coordinator.empty()) {
    const auto registry = coordinator::RegistryClient::Create(
        rpc::MakeTcpChannelFactory()->Connect(options.coordinator));
    ATELIER_ASSIGN_OR_RETURN(const v1::ListEnsemblesResponse listed, registry->ListEnsembles(""));
    for (const v1::ListedEnsemble& e : listed.ensembles()) {
      all.push_back({e.ensemble(), e.promoted(), ""});
    }
    return all;
  }
  ATELIER_ASSIGN_OR_RETURN(const std::vector<IndexedEnsemble> indexed,
                           RunIndex(AtelierHome()).Ensembles());
  for (const IndexedEnsemble& e : indexed) {
    Listed listed{{}, e.promoted, ""};
    if (const absl::StatusOr<v1::EnsembleVersion> version = ReadIndexed(e); version.ok()) {
      listed.version = *version;
      listed.directory = e.path.string();
    }
    listed.version.set_name(e.name);
    listed.version.set_version(e.version);
    if (listed.version.created_unix_ms() == 0) {
      listed.version.set_created_unix_ms(e.created_unix_ms);
    }
    all.push_back(std::move(listed));
  }
  return all;
}

std::string MemberNames(const v1::EnsembleVersion& version) {
  std::vector<std::string> names;
  for (const v1::EnsembleMember& member : version.members()) names.push_back(member.name());
  return names.empty() ? "(run directory gone)" : absl::StrJoin(names, ", ");
}

absl::Status List(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const std::vector<Listed> all, LoadAll(options));
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {
      {"ensemble", "promoted", "made", "validation accuracy", "members"}};
  for (const Listed& e : all) {
    Json one = EnsembleToJson(e.version);
    one["promoted"] = e.promoted;
    one["directory"] = e.directory;
    json.push_back(std::move(one));
    rows.push_back(
        {absl::StrCat(e.version.name(), "@", e.version.version()), e.promoted ? "yes" : "",
         LocalTime(e.version.created_unix_ms()),
         PercentWithInterval(e.version.validation_accuracy(), e.version.validation_images()),
         MemberNames(e.version)});
  }
  if (options.json) {
    PrintJson(json);
  } else if (all.empty()) {
    std::printf("no ensembles yet: atelier train --data DIR makes one\n");
  } else {
    std::fputs(Table(rows).c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status Show(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const ServableEnsemble found,
                           ResolveEnsemble(options.ensemble, options.coordinator));
  const v1::EnsembleVersion& version = found.version;
  if (options.json) {
    PrintJson(EnsembleToJson(version));
    return absl::OkStatus();
  }
  std::printf("%s@%d, made %s by run %s\n", version.name().c_str(), version.version(),
              LocalTime(version.created_unix_ms()).c_str(), version.run_id().c_str());
  std::printf("classes        %s\n", absl::StrJoin(version.classes(), ", ").c_str());
  std::printf(
      "validation     %s on %s pictures, log loss %.4f\n",
      PercentWithInterval(version.validation_accuracy(), version.validation_images()).c_str(),
      Grouped(version.validation_images()).c_str(), version.validation_loss());
  std::printf("preprocessing  %s\n\n", version.preprocessing_digest().c_str());
  std::vector<std::vector<std::string>> rows = {
      {"member", "backbone", "pixels", "validation accuracy", "val_loss", "weights"}};
  for (const v1::EnsembleMember& member : version.members()) {
    rows.push_back(
        {member.name(), member.model().backbone(), absl::StrCat(member.model().image().size()),
         PercentWithInterval(member.validation_accuracy(), version.validation_images()),
         absl::StrFormat("%.4f", member.validation_loss()), member.weights_digest().substr(0, 12)});
  }
  std::fputs(Table(rows, {2, 4}).c_str(), stdout);
  return absl::OkStatus();
}

absl::Status Promote(const Options& options) {
  ATELIER_ASSIGN_OR_RETURN(const EnsembleName name,
                           WrongUsage(ParseEnsembleName(options.ensemble)));
  if (name.version == 0) {
    return WrongUsage(absl::InvalidArgumentError(
        absl::StrCat("say which version: ", name.name, "@N (atelier ensembles list shows them)")));
  }
  Json json;
  if (options.coordinator.empty()) {
    ATELIER_ASSIGN_OR_RETURN(const IndexedEnsemble promoted,
                             RunIndex(AtelierHome()).Promote(name.name, name.version));
    json = {{"name", promoted.name}, {"version", promoted.version}, {"promoted", true}};
  } else {
    const auto registry = coordinator::RegistryClient::Create(
        rpc::MakeTcpChannelFactory()->Connect(options.coordinator));
    ATELIER_ASSIGN_OR_RETURN(const v1::PromotedEnsemble promoted,
                             registry->Promote(name.name, name.version));
    json = {{"name", promoted.ensemble().name()},
            {"version", promoted.ensemble().version()},
            {"promoted", true}};
  }
  if (options.json) {
    PrintJson(json);
  } else {
    std::printf("%s@%d is promoted\n", name.name.c_str(), name.version);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEnsemblesCommands(CLI::App& app, Context& context) {
  CLI::App* ensembles =
      AddVerb(app, "ensembles", "List, show and promote ensemble versions",
              "  atelier ensembles list\n"
              "  atelier ensembles show paintings@2 --json\n"
              "  atelier ensembles promote paintings@1        # a roll-back\n"
              "  atelier ensembles promote paintings@3 --coordinator 127.0.0.1:7070");
  ensembles->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* list = ensembles->add_subcommand("list", "Every version, by name, newest first");
  CLI::App* show = ensembles->add_subcommand("show", "Members, classes and scores of a version");
  show->add_option("ensemble", options->ensemble, "Run directory, NAME or NAME@VERSION")
      ->required()
      ->type_name("RUN|NAME@VERSION");
  CLI::App* promote = ensembles->add_subcommand("promote", "Serve this version from now on");
  promote->add_option("ensemble", options->ensemble, "NAME@VERSION")
      ->required()
      ->type_name("NAME@VERSION");
  for (CLI::App* verb : {list, show, promote}) {
    verb->add_option("--coordinator", options->coordinator, "In this coordinator's registry")
        ->type_name("HOST:PORT");
    verb->add_flag("--json", options->json, "One JSON document on standard output");
  }
  list->callback([=, &context] { context.exit_code = ExitCode(List(*options)); });
  show->callback([=, &context] { context.exit_code = ExitCode(Show(*options)); });
  promote->callback([=, &context] { context.exit_code = ExitCode(Promote(*options)); });
}

}  // namespace atelier::cli
