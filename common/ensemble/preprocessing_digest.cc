#include "common/ensemble/preprocessing_digest.h"

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"

namespace atelier::ensemble {

std::string PreprocessingDigest(const v1::EnsembleVersion& ensemble) {
  // Bumped whenever decode, resize or scaling change what a network sees.
  std::string text = "preprocessing 1\n";
  for (const v1::EnsembleMember& member : ensemble.members()) {
    const v1::ModelSpec& model = member.model();
    const v1::Scaling scaling =
        model.scaling() == v1::SCALING_UNSPECIFIED ? v1::AUTO : model.scaling();
    const v1::ResizeFilter filter =
        model.image().filter() == v1::RESIZE_FILTER_UNSPECIFIED ? v1::AREA : model.image().filter();
    const int channels = model.image().channels() == 0 ? 3 : model.image().channels();
    absl::StrAppend(&text, model.backbone(), " ", v1::Scaling_Name(scaling), " ",
                    v1::ResizeFilter_Name(filter), " ", model.image().size(), " ", channels, "\n");
  }
  return Sha256Hex(text);
}

}  // namespace atelier::ensemble
