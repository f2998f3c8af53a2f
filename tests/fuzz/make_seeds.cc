// make_fuzz_seeds DIR: small good and nearly good files of every format that tests/fuzz reads, as
// DIR/TARGET/NAME. (Pictures and recipes are in the repository already.)
#include <cstdio>
#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "common/nn/safetensors.h"
#include "tests/integration/bad_input/rpc_oip_cases.h"
#include "tests/unit/convert/writers.h"

namespace {

namespace fs = std::filesystem;
using atelier::convert::Layer;
using atelier::convert::PickleWriter;

class Seeds {
 public:
  explicit Seeds(fs::path dir) : dir_(std::move(dir)) {}

  // Where a library shall write a seed by itself.
  fs::path PathOf(const std::string& target, const std::string& name) {
    fs::create_directories(dir_ / target);
    return dir_ / target / name;
  }
  void Put(const std::string& target, const std::string& name, const std::string& bytes) {
    good_ = atelier::WriteFileAtomically(PathOf(target, name), bytes).ok() && good_;
  }
  bool good() const { return good_; }

 private:
  const fs::path dir_;
  bool good_ = true;
};

void PutTables(Seeds& seeds) {
  seeds.Put("csv", "plain", "filename,category\n1.png,cat\n2.png,dog\n");
  seeds.Put("csv", "quoted",
            "\xef\xbb\xbf\"filename\",category\r\n\"a \"\"b\"\", c\n.png\",=cmd\r\n\r\n+1,@x\r\n");
  seeds.Put("csv", "open_quote", "a,b\n\"1");
  seeds.Put("csv", "ragged", "a,b\n1\n");
}

void PutRecipes(Seeds& seeds) {
  seeds.Put(
      "recipe", "all_kinds",
      "name: \"a: b\"\nclasses: [x, 'y', \"z\\n\"]\nmembers:\n- {name: m, backbone: tiny_cnn, "
      "image: {size: 32, filter: bilinear}}\nstages:\n  - name: train\n    epochs: 3\n    "
      "optimizer: &o {learning_rate: 1e-3}\n    cutmix: {variant: notebook}\n  - name: "
      "again\n    optimizer: *o\nseed: 18446744073709551615\nvalidation_fraction: .25\n"
      "deterministic: true\n");
  seeds.Put("recipe", "override", "stages.0.epochs=4 #\nstages: [{name: train, epochs: 1}]\n");
  seeds.Put("recipe", "merge", "a: &a {name: x}\nstages: [{<<: *a}]\n");
  seeds.Put("recipe", "tags", "!!map {stages: !!seq [!!map {name: !!str 1}]}\n");
}

void PutRequests(Seeds& seeds) {
  namespace agg = atelier::aggregator;
  const auto images = agg::TwoImagesRequest({"first", ""});
  seeds.Put("oip_request", "images", images.SerializeAsString());
  seeds.Put("oip_request", "pixels", agg::TwoPixelPicturesRequest().SerializeAsString());
  auto typed = images;
  typed.clear_raw_input_contents();
  typed.mutable_inputs(0)->mutable_contents()->add_bytes_contents("first");
  typed.mutable_inputs(0)->mutable_contents()->add_bytes_contents("");
  (*typed.mutable_parameters())["timeout"].set_int64_param(5);
  typed.add_outputs()->set_name("label");
  seeds.Put("oip_request", "typed", typed.SerializeAsString());
  for (const agg::OipBadCase& bad : agg::OipBadCases()) {
    auto request = bad.pixels ? agg::TwoPixelPicturesRequest() : images;
    bad.spoil(request);
    if (request.ByteSizeLong() < 1000) {
      seeds.Put("oip_request", bad.name, request.SerializeAsString());
    }
  }
}

void PutWeights(Seeds& seeds) {
  const std::string floats = atelier::convert::FloatBytes({1, 2, 3, 4, 5, 6});
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"k":"v"}})";
  const std::string length = {static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0};
  seeds.Put("safetensors", "one", length + header + floats);
  std::map<std::string, atelier::nn::TensorView> views;
  views["layer/kernel"] = {atelier::nn::DType::kF32, {3, 2}, floats};
  views["layer/bias"] = {
      atelier::nn::DType::kBF16, {2, 1, 1}, std::string_view(floats).substr(0, 4)};
  views["empty"] = {atelier::nn::DType::kI64, {0}, {}};
  seeds.Put("safetensors", "three", atelier::nn::SerializeSafetensors(views, {{"format", "pt"}}));

  const std::vector<Layer> layers = {atelier::convert::DenseLayer("dense", 2, 3, 1.0F),
                                     atelier::convert::DenseLayer("dense_1", 3, 2, 2.0F)};
  atelier::convert::WriteLegacyH5(seeds.PathOf("hdf5", "legacy.h5"), layers);
  atelier::convert::WriteKeras3H5(seeds.PathOf("hdf5", "keras3.h5"), {{"layers", layers}});
}

void PutTorch(Seeds& seeds) {
  const std::vector<atelier::convert::TorchTensor> tensors = {
      {"fc.weight", {2, 3}, {}, {1, 2, 3, 4, 5, 6}, 0},
      {"fc.bias", {2}, {}, {1, 2}, 0},
      {"strided", {2, 2}, {1, 2}, {1, 2, 3, 4, 5}, 1}};
  seeds.Put("pickle", "state_dict", atelier::convert::StateDictPickle(tensors));
  seeds.Put("pickle", "legacy", atelier::convert::LegacyTorchFile(tensors));
  seeds.Put("pickle", "evil",
            PickleWriter().Global("posix", "system").Op('(').Text("id").Op('t').Op('R').Stop());
  seeds.Put("pickle", "numbers",
            PickleWriter().Op('(').Int(7).Op('N').Ints({1, 2}).Text("x").Op('l').Stop());
  atelier::convert::WriteTorchZip(seeds.PathOf("zip", "torch.pth"), tensors);
  atelier::convert::WriteZip(seeds.PathOf("zip", "deflated.zip"),
                             {{"config.json", std::string(200, 'x')}, {"a/b.txt", "short"}});
  atelier::convert::WriteZip(seeds.PathOf("zip", "stored.zip"),
                             {{"a/data.pkl", atelier::convert::StateDictPickle(tensors)}}, true);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::filesystem::remove_all(argv[1]);
  Seeds seeds(argv[1]);
  PutTables(seeds);
  PutRecipes(seeds);
  PutRequests(seeds);
  PutWeights(seeds);
  PutTorch(seeds);
  return seeds.good() ? 0 : 1;
}
