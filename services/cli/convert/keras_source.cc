#include "services/cli/convert/keras_source.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::convert {
namespace {

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string LeafOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::optional<int> Number(std::string_view text) {
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || n < 0) {
    return std::nullopt;
  }
  return n;
}

// "batch_normalization_12" -> ("batch_normalization", 12); the first of a class has no number.
std::pair<std::string, int> ClassAndCounter(const std::string& name) {
  const size_t underscore = name.rfind('_');
  if (underscore != std::string::npos) {
    if (const auto n = Number(std::string_view(name).substr(underscore + 1))) {
      return {name.substr(0, underscore), *n};
    }
  }
  return {name, 0};
}

// A nested model is one group that holds the weights of many layers, told apart by the folder in
// their names ("block1_conv1/kernel:0"), trainable ones first: put each layer's together again.
void AppendLegacyGroup(const std::string& group, std::vector<SourceTensor> tensors,
                       std::vector<SourceLayer>* layers) {
  std::set<std::string> folders;
  for (const SourceTensor& tensor : tensors) folders.insert(ParentOf(tensor.name));
  if (tensors.size() <= 4 || folders.size() < 2) {
    layers->push_back({group, "", std::move(tensors)});
    return;
  }
  std::map<std::string, size_t> index;
  for (SourceTensor& tensor : tensors) {
    const std::string folder = ParentOf(tensor.name);
    const auto [it, inserted] = index.try_emplace(folder, layers->size());
    if (inserted) layers->push_back({folder, "", {}});
    (*layers)[it->second].tensors.push_back(std::move(tensor));
  }
}

absl::StatusOr<Source> ReadLegacy(const std::shared_ptr<Hdf5File>& file, const std::string& root) {
  Source source;
  source.format = "Keras legacy HDF5";
  source.layout = Layout::kKeras;
  source.order = Order::kSequence;
  source.owner = file;
  SourceContainer container;
  container.path = root;
  std::set<std::string> used;
  ATELIER_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           file->StringList(root, "layer_names"));
  for (const std::string& name : names) {
    const std::string group = root.empty() ? name : absl::StrCat(root, "/", name);
    if (!file->HasGroup(group)) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer_names lists \"", name, "\", but there is no such group"));
    }
    ATELIER_ASSIGN_OR_RETURN(const std::vector<std::string> weights,
                             file->StringList(group, "weight_names"));
    std::vector<SourceTensor> tensors;
    for (const std::string& weight : weights) {
      const std::string path = absl::StrCat(group, "/", weight);
      const Hdf5File::Dataset* dataset = file->Find(path);
      if (dataset == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("weight_names of \"", name, "\" lists \"",
                                                       weight, "\", but there is no such tensor"));
      }
      used.insert(path);
      tensors.push_back(file->ToSourceTensor(*dataset, weight));
    }
    if (!tensors.empty()) AppendLegacyGroup(name, std::move(tensors), &container.layers);
  }
  for (const auto& dataset : file->datasets()) {
    if (used.count(dataset.path) > 0) continue;
    source.left_out.push_back({dataset.path, dataset.shape, "not listed in weight_names"});
  }
  source.containers.push_back(std::move(container));
  return source;
}

struct Numbered {
  std::string keras_class;
  int counter = 0;
  std::string path;
  std::map<int, const Hdf5File::Dataset*> variables;
};

absl::StatusOr<Source> ReadKeras3(const std::shared_ptr<Hdf5File>& file) {
  Source source;
  source.format = "Keras 3 HDF5";
  source.layout = Layout::kKeras;
  source.order = Order::kPerClass;
  source.owner = file;
  std::map<std::string, std::map<std::string, Numbered>> containers;  // path -> layer path -> layer
  for (const auto& dataset : file->datasets()) {
    const std::string vars = ParentOf(dataset.path);
    const std::string layer = ParentOf(vars);
    const auto index = Number(LeafOf(dataset.path));
    if (LeafOf(vars) != "vars" || !index.has_value() || layer.empty()) {
      source.left_out.push_back({dataset.path, dataset.shape, "not a layer's variable"});
      continue;
    }
    if (dataset.path.rfind("optimizer/", 0) == 0) {
      source.left_out.push_back({dataset.path, dataset.shape, "state of the optimizer"});
      continue;
    }
    Numbered& entry = containers[ParentOf(layer)][layer];
    std::tie(entry.keras_class, entry.counter) = ClassAndCounter(LeafOf(layer));
    entry.path = layer;
    entry.variables[*index] = &dataset;
  }
  for (auto& [path, by_name] : containers) {
    std::vector<Numbered> layers;
    for (auto& [name, layer] : by_name) layers.push_back(std::move(layer));
    std::sort(layers.begin(), layers.end(), [](const Numbered& a, const Numbered& b) {
      return std::tie(a.keras_class, a.counter) < std::tie(b.keras_class, b.counter);
    });
    SourceContainer container;
    container.path = path;
    for (const Numbered& layer : layers) {
      SourceLayer out{layer.path, layer.keras_class, {}};
      for (const auto& [index, dataset] : layer.variables) {
        out.tensors.push_back(file->ToSourceTensor(*dataset, dataset->path));
      }
      container.layers.push_back(std::move(out));
    }
    source.containers.push_back(std::move(container));
  }
  return source;
}

}  // namespace

absl::StatusOr<Source> ReadKerasHdf5(std::shared_ptr<InputFile> input) {
  ATELIER_ASSIGN_OR_RETURN(const std::shared_ptr<Hdf5File> file, Hdf5File::Open(std::move(input)));
  for (const std::string root : {"", "model_weights"}) {
    if (file->HasAttribute(root, "layer_names") || file->HasAttribute(root, "layer_names0")) {
      return ReadLegacy(file, root);
    }
  }
  ATELIER_ASSIGN_OR_RETURN(Source source, ReadKeras3(file));
  if (source.containers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("an HDF5 file of ", file->datasets().size(),
                     " tensors, but in none of Keras' layouts: neither the attribute layer_names "
                     "nor groups LAYER/vars"));
  }
  return source;
}

}  // namespace atelier::convert
