// atelier model forward: one layer's output for pictures as they are.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status.h"
#include "common/ensemble/npy.h"
#include "common/nn/runtime.h"
#include "services/cli/command.h"
#include "services/cli/model/model_commands.h"
#include "services/cli/model/model_input.h"
#include "services/cli/run_json.h"

namespace atelier::cli {
namespace {

constexpr char kExamples[] =
    "  atelier model forward --backbone xception --input photo.jpg\n"
    "  atelier model forward --weights w.safetensors --input x.npy --layer block4_pool --output "
    "y.npy\n"
    "  atelier model forward --weights member.safetensors --head --layer probs --input x.npy "
    "--preprocess notebook --output probs.npy";

struct Options {
  std::string backbone;
  std::string weights;
  bool head = false;
  std::string preprocess = "auto";
  std::string input;
  std::string layer = "gap";
  std::string output;
  bool json = false;
};

Json Describe(const Options& options, const nn::FloatArray& y) {
  double sum = 0;
  double squares = 0;
  for (const float v : y.values) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(std::max<size_t>(y.values.size(), 1));
  const auto [least, largest] = std::minmax_element(y.values.begin(), y.values.end());
  return {{"layer", options.layer},
          {"shape", y.shape},
          {"mean", sum / n},
          {"deviation", std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)))},
          {"least", y.values.empty() ? 0 : *least},
          {"largest", y.values.empty() ? 0 : *largest}};
}

absl::Status Forward(const Options& options) {
  nn::SetThreads(0);
  ATELIER_ASSIGN_OR_RETURN(const Pixels pixels, ReadPixels(options.input));
  ATELIER_ASSIGN_OR_RETURN(const auto inspector,
                           OpenInspector(options.backbone, options.weights, pixels.channels,
                                         options.head || options.layer == "probs"));
  ATELIER_ASSIGN_OR_RETURN(
      const nn::FloatArray y,
      inspector->Output(pixels.batch(), options.preprocess == "notebook" ? v1::NOTEBOOK : v1::AUTO,
                        options.layer));
  if (!options.output.empty()) {
    ATELIER_RETURN_IF_ERROR(
        WriteFileAtomically(options.output, ensemble::ToNpy(y.shape, y.values)));
    Say(absl::StrCat("wrote ", options.output, ": float32 [", absl::StrJoin(y.shape, ", "), "]"));
  }
  const Json facts = Describe(options, y);
  if (options.json) {
    PrintJson(facts);
  } else if (options.output.empty()) {
    std::fputs(absl::StrFormat("%s [%s]: mean %.6g, deviation %.6g, from %.6g to %.6g\n",
                               options.layer, absl::StrJoin(y.shape, ", "),
                               facts["mean"].get<double>(), facts["deviation"].get<double>(),
                               facts["least"].get<double>(), facts["largest"].get<double>())
                   .c_str(),
               stdout);
  }
  return absl::OkStatus();
}

}  // namespace

void AddModelForward(CLI::App& model, Context& context) {
  CLI::App* verb =
      AddVerb(model, "forward", "What a layer answers for pictures, never resized", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("--backbone", options->backbone, "By default what the weights say they are");
  verb->add_option("--weights", options->weights,
                   "A safetensors file; by default the backbone's in the cache")
      ->type_name("FILE");
  verb->add_flag("--head", options->head, "Take the head of the weights as well");
  verb->add_option("--preprocess", options->preprocess,
                   "auto: what ImageNet weights were trained on; notebook: x / 255")
      ->check(CLI::IsMember({"auto", "notebook"}));
  verb->add_option("--input", options->input,
                   "uint8 [n, height, width, 3 or 1] in a .npy, or one picture")
      ->required()
      ->type_name("X.npy|PICTURE");
  verb->add_option("--layer", options->layer,
                   "gap (pooled features), probs (softmax of the head), or a layer of `atelier "
                   "model show`, given as [n, height, width, channels]");
  verb->add_option("--output", options->output,
                   "NumPy file, float32; without it a line of statistics")
      ->type_name("Y.npy");
  verb->add_flag("--json", options->json, "Shape and statistics as one JSON document");
  verb->callback([options, &context] { context.exit_code = ExitCode(Forward(*options)); });
}

}  // namespace atelier::cli
