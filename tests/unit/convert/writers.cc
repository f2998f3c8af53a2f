#include "tests/unit/convert/writers.h"

#include <hdf5.h>
#include <zip.h>

#include <cstring>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace atelier::convert {
namespace {

std::string LeafOf(const std::string& name) { return name.substr(name.rfind('/') + 1); }

int64_t Product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// The number of an element, from its variable and its place in LibTorch's layout.
float Pattern(size_t variable, int64_t element) {
  return static_cast<float>(variable) + static_cast<float>(element % 8191) / 8192.0F;
}

// Where element `i` of the Keras layout lies in LibTorch's: written without the converter's code.
int64_t TorchIndex(const nn::Variable& v, int64_t i) {
  const std::vector<int64_t>& s = v.shape;
  if (v.kind == nn::VariableKind::kKernel) {  // [kh, kw, in, out] -> [out, in, kh, kw]
    const int64_t o = i % s[0], in = i / s[0] % s[1], w = i / (s[0] * s[1]) % s[3];
    const int64_t h = i / (s[0] * s[1] * s[3]);
    return ((o * s[1] + in) * s[2] + h) * s[3] + w;
  }
  if (v.kind == nn::VariableKind::kDepthwiseKernel) {  // [kh, kw, c, 1] -> [c, 1, kh, kw]
    const int64_t c = i % s[0], w = i / s[0] % s[3], h = i / (s[0] * s[3]);
    return (c * s[2] + h) * s[3] + w;
  }
  return i;
}

std::string ClassOf(const nn::Variable& first) {
  if (first.kind == nn::VariableKind::kGamma) return "batch_normalization";
  if (LeafOf(first.name) == "depthwise_kernel") return "separable_conv2d";
  return first.kind == nn::VariableKind::kDepthwiseKernel ? "depthwise_conv2d" : "conv2d";
}

void WriteStrings(hid_t object, const char* name, const std::vector<std::string>& strings) {
  // Keras writes an empty list as an empty array of doubles.
  const hsize_t n = strings.size();
  const hid_t space = H5Screate_simple(1, &n, nullptr);
  size_t width = 1;
  for (const std::string& s : strings) width = std::max(width, s.size());
  const hid_t type = strings.empty() ? H5Tcopy(H5T_NATIVE_DOUBLE) : H5Tcopy(H5T_C_S1);
  std::string bytes(width * strings.size(), '\0');
  if (!strings.empty()) {
    H5Tset_size(type, width);
    for (size_t i = 0; i < strings.size(); ++i) {
      std::memcpy(bytes.data() + i * width, strings[i].data(), strings[i].size());
    }
  }
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (!strings.empty()) H5Awrite(attribute, type, bytes.data());
  H5Aclose(attribute);
  H5Tclose(type);
  H5Sclose(space);
}

hid_t CreateGroups() {
  const hid_t plist = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(plist, 1);
  return plist;
}

void WriteDataset(hid_t file, const std::string& path, const Weight& weight) {
  const std::vector<hsize_t> dims(weight.shape.begin(), weight.shape.end());
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t links = CreateGroups();
  const hid_t dataset =
      H5Dcreate2(file, path.c_str(), H5T_IEEE_F32LE, space, links, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, weight.values.data());
  H5Dclose(dataset);
  H5Pclose(links);
  H5Sclose(space);
}

void MakeGroup(hid_t file, const std::string& path) {
  const hid_t links = CreateGroups();
  H5Gclose(H5Gcreate2(file, path.c_str(), links, H5P_DEFAULT, H5P_DEFAULT));
  H5Pclose(links);
}

void AppendUnsigned(std::string* out, uint64_t value, int width) {
  for (int i = 0; i < width; ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

}  // namespace

std::vector<Layer> PatternLayers(const nn::Graph& graph, bool keras_layout) {
  std::vector<Layer> layers;
  for (size_t i = 0; i < graph.variables.size(); ++i) {
    const nn::Variable& variable = graph.variables[i];
    const std::string layer = variable.name.substr(0, variable.name.rfind('/'));
    if (layers.empty() || layers.back().name != layer) {
      layers.push_back({layer, ClassOf(variable), {}});
    }
    Weight weight{variable.name, keras_layout ? nn::KerasShape(variable) : variable.shape, {}};
    for (int64_t e = 0; e < Product(variable.shape); ++e) {
      weight.values.push_back(Pattern(i, keras_layout ? TorchIndex(variable, e) : e));
    }
    layers.back().weights.push_back(std::move(weight));
  }
  return layers;
}

std::vector<std::pair<std::string, std::vector<float>>> ExpectedTensors(const nn::Graph& graph) {
  std::vector<std::pair<std::string, std::vector<float>>> tensors;
  for (const Layer& layer : PatternLayers(graph, /*keras_layout=*/false)) {
    for (const Weight& weight : layer.weights) tensors.emplace_back(weight.name, weight.values);
  }
  return tensors;
}

Layer DenseLayer(const std::string& name, int64_t in, int64_t out, float first) {
  Layer layer{name, "dense", {{name + "/kernel", {in, out}, {}}, {name + "/bias", {out}, {}}}};
  for (int64_t i = 0; i < in * out; ++i) {
    layer.weights[0].values.push_back(first + static_cast<float>(i) / 1024.0F);
  }
  for (int64_t i = 0; i < out; ++i) layer.weights[1].values.push_back(static_cast<float>(i));
  return layer;
}

void WriteLegacyH5(const std::filesystem::path& path, const std::vector<Layer>& layers,
                   const std::string& suffix) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  std::vector<std::string> names;
  for (const Layer& layer : layers) {
    names.push_back(layer.name);
    MakeGroup(file, layer.name);
    std::vector<std::string> weights;
    for (const Weight& weight : layer.weights) {
      weights.push_back(weight.name + suffix);
      WriteDataset(file, layer.name + "/" + weights.back(), weight);
    }
    const hid_t group = H5Gopen2(file, layer.name.c_str(), H5P_DEFAULT);
    WriteStrings(group, "weight_names", weights);
    H5Gclose(group);
  }
  const hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
  WriteStrings(root, "layer_names", names);
  H5Gclose(root);
  H5Fclose(file);
}

void WriteKeras3H5(const std::filesystem::path& path, const std::vector<Container>& containers) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  for (const Container& container : containers) {
    std::map<std::string, int> counters;
    for (const Layer& layer : container.layers) {
      const int n = counters[layer.keras_class]++;
      const std::string group =
          absl::StrCat(container.path, "/", layer.keras_class,
                       n == 0 ? std::string() : absl::StrCat("_", n), "/vars");
      MakeGroup(file, group);
      for (size_t i = 0; i < layer.weights.size(); ++i) {
        WriteDataset(file, group + "/" + std::to_string(i), layer.weights[i]);
      }
    }
  }
  H5Fclose(file);
}

PickleWriter& PickleWriter::Text(std::string_view text) {
  bytes_ += 'X';
  AppendUnsigned(&bytes_, text.size(), 4);
  bytes_ += text;
  return *this;
}

PickleWriter& PickleWriter::Int(int64_t value) {
  if (value != static_cast<int32_t>(value)) {
    bytes_ += "\x8a\x08";  // LONG1 of eight bytes
    AppendUnsigned(&bytes_, static_cast<uint64_t>(value), 8);
    return *this;
  }
  bytes_ += 'J';
  AppendUnsigned(&bytes_, static_cast<uint64_t>(value), 4);
  return *this;
}

PickleWriter& PickleWriter::Global(std::string_view module, std::string_view name) {
  bytes_ += 'c';
  bytes_ += module;
  bytes_ += '\n';
  bytes_ += name;
  bytes_ += '\n';
  return *this;
}

PickleWriter& PickleWriter::Ints(const std::vector<int64_t>& values) {
  Op('(');
  for (const int64_t value : values) Int(value);
  return Op('t');
}

std::vector<TorchTensor> TorchTensors(const nn::Graph& graph) {
  std::vector<TorchTensor> tensors;
  const std::map<std::string, std::string> torch = {{"kernel", "weight"},
                                                    {"depthwise_kernel", "weight"},
                                                    {"pointwise_kernel", "weight2"},
                                                    {"gamma", "weight"},
                                                    {"beta", "bias"},
                                                    {"moving_mean", "running_mean"},
                                                    {"moving_variance", "running_var"}};
  for (const Layer& layer : PatternLayers(graph, /*keras_layout=*/false)) {
    for (const Weight& weight : layer.weights) {
      tensors.push_back({"net_" + layer.name + "." + torch.at(LeafOf(weight.name)),
                         weight.shape,
                         {},
                         weight.values,
                         0});
    }
  }
  return tensors;
}

std::string StateDictPickle(const std::vector<TorchTensor>& tensors) {
  PickleWriter pickle;
  pickle.Global("collections", "OrderedDict").Op(')').Op('R').Op('(');
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TorchTensor& tensor = tensors[i];
    std::vector<int64_t> strides = tensor.strides;
    if (strides.empty()) {
      strides.assign(tensor.shape.size(), 1);
      for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
    }
    pickle.Text(tensor.name).Global("torch._utils", "_rebuild_tensor_v2").Op('(');
    pickle.Op('(').Text("storage").Global("torch", "FloatStorage").Text(std::to_string(i));
    pickle.Text("cpu").Int(static_cast<int64_t>(tensor.storage.size())).Op('t').Op('Q');
    pickle.Int(tensor.offset).Ints(tensor.shape).Ints(strides).Op('\x89');
    pickle.Global("collections", "OrderedDict").Op(')').Op('R').Op('t').Op('R');
  }
  return pickle.Op('u').Stop();
}

std::string LegacyTorchFile(const std::vector<TorchTensor>& tensors) {
  std::string file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  file += std::string("\x80\x02M\xe9\x03.", 6);
  PickleWriter system;
  file += system.Op('}').Text("little_endian").Op('\x88').Op('s').Stop();
  file += StateDictPickle(tensors);
  PickleWriter keys;
  keys.Op(']').Op('(');
  for (size_t i = 0; i < tensors.size(); ++i) keys.Text(std::to_string(i));
  file += keys.Op('e').Stop();
  for (const TorchTensor& tensor : tensors) {
    AppendUnsigned(&file, tensor.storage.size(), 8);
    file += FloatBytes(tensor.storage);
  }
  return file;
}

void WriteTorchZip(const std::filesystem::path& path, const std::vector<TorchTensor>& tensors) {
  std::vector<std::pair<std::string, std::string>> members = {
      {"archive/data.pkl", StateDictPickle(tensors)}, {"archive/byteorder", "little"}};
  for (size_t i = 0; i < tensors.size(); ++i) {
    members.emplace_back("archive/data/" + std::to_string(i), FloatBytes(tensors[i].storage));
  }
  WriteZip(path, members, /*store=*/true);
}

void WriteZip(const std::filesystem::path& path,
              const std::vector<std::pair<std::string, std::string>>& members, bool store) {
  int error = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
  for (const auto& [name, bytes] : members) {
    zip_source_t* source = zip_source_buffer(zip, bytes.data(), bytes.size(), 0);
    const zip_int64_t index = zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (store) zip_set_file_compression(zip, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
  }
  zip_close(zip);
}

std::string FloatBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace atelier::convert
