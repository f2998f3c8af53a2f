#include "services/cli/convert/torch_source.h"

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/cli/convert/float_convert.h"
#include "services/cli/convert/pickle.h"

namespace atelier::convert {
namespace {

using Kind = Pickle::Kind;
using Value = Pickle::Value;

constexpr int64_t kLegacyMagic = static_cast<int64_t>(0xa86a20f9469cfc6cULL);  // low 64 bits
constexpr int64_t kLegacyProtocol = 1001;
constexpr uint64_t kMaxPickleBytes = 64 << 20;

// "torch FloatStorage" -> the type of its elements.
absl::StatusOr<ElementType> StorageType(std::string_view global) {
  static const auto* const types = new std::map<std::string_view, ElementType>{
      {"torch FloatStorage", ElementType::kF32}, {"torch DoubleStorage", ElementType::kF64},
      {"torch HalfStorage", ElementType::kF16},  {"torch BFloat16Storage", ElementType::kBF16},
      {"torch LongStorage", ElementType::kI64},  {"torch IntStorage", ElementType::kI32},
      {"torch ShortStorage", ElementType::kI16}, {"torch CharStorage", ElementType::kI8},
      {"torch ByteStorage", ElementType::kU8},   {"torch BoolStorage", ElementType::kU8},
  };
  const auto it = types->find(global);
  if (it == types->end()) {
    return absl::InvalidArgumentError(absl::StrCat("refused: storage type ", std::string(global)));
  }
  return it->second;
}

// A storage's bytes; `view` stays valid while the source lives.
using StorageReader = std::function<absl::StatusOr<TensorBytes>(const std::string& key)>;

struct TensorPlan {
  ElementType type = ElementType::kF32;
  std::string key;
  int64_t storage_elements = 0;
  int64_t offset = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  int64_t elements = 0;
};

absl::StatusOr<std::vector<int64_t>> Integers(const Pickle& pickle, const Value& tuple) {
  std::vector<int64_t> out;
  if (tuple.items.size() > kMaxRank) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a tensor of rank ", tuple.items.size(), "; at most ", kMaxRank));
  }
  for (const Pickle::Ref ref : tuple.items) {
    const Value& n = pickle.at(ref);
    if (n.kind != Kind::kInt || n.number < 0) {
      return absl::InvalidArgumentError("a size or stride that is no whole number from 0 up");
    }
    out.push_back(n.number);
  }
  return out;
}

// Every element the shape and strides reach lies inside the storage. (Strides of extents of 1 are
// never taken: whatever the file says, they are 0 in the plan.)
absl::StatusOr<TensorPlan> PlanTensor(const Pickle& pickle, const Value& tensor) {
  const Value& storage = pickle.at(tensor.items[0]);
  TensorPlan plan;
  ATELIER_ASSIGN_OR_RETURN(plan.type, StorageType(pickle.at(storage.items[0]).text));
  plan.key = std::string(pickle.at(storage.items[1]).text);
  plan.storage_elements = pickle.at(storage.items[2]).number;
  plan.offset = pickle.at(tensor.items[1]).number;
  ATELIER_ASSIGN_OR_RETURN(plan.shape, Integers(pickle, pickle.at(tensor.items[2])));
  ATELIER_ASSIGN_OR_RETURN(plan.strides, Integers(pickle, pickle.at(tensor.items[3])));
  ATELIER_ASSIGN_OR_RETURN(plan.elements, CheckedElements(plan.shape));
  if (plan.strides.size() != plan.shape.size() || plan.offset < 0 || plan.storage_elements < 0) {
    return absl::InvalidArgumentError("shape and strides do not belong together");
  }
  int64_t last = plan.offset;
  for (size_t i = 0; i < plan.shape.size() && plan.elements > 0; ++i) {
    if (plan.shape[i] == 1) plan.strides[i] = 0;
    int64_t reach = 0;
    if (__builtin_mul_overflow(plan.shape[i] - 1, plan.strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return absl::InvalidArgumentError("strides overflow");
    }
  }
  if (plan.elements > 0 && last >= plan.storage_elements) {
    return absl::InvalidArgumentError(
        absl::StrCat("it reaches element ", last, " of a storage of ", plan.storage_elements));
  }
  return plan;
}

bool IsContiguous(const TensorPlan& plan) {
  int64_t expected = 1;
  for (size_t i = plan.shape.size(); i-- > 0;) {
    if (plan.shape[i] != 1 && plan.strides[i] != expected) return false;
    expected *= plan.shape[i];
  }
  return true;
}

// The strided elements in C order, still in their own type.
std::string Gather(const TensorPlan& plan, std::string_view storage) {
  const size_t width = ElementSize(plan.type);
  std::string out(static_cast<size_t>(plan.elements) * width, '\0');
  std::vector<int64_t> index(plan.shape.size(), 0);
  int64_t from = plan.offset;
  for (int64_t i = 0; i < plan.elements; ++i) {
    std::memcpy(out.data() + static_cast<size_t>(i) * width,
                storage.data() + static_cast<size_t>(from) * width, width);
    for (size_t d = index.size(); d-- > 0;) {
      from += plan.strides[d];
      if (++index[d] < plan.shape[d]) break;
      from -= plan.strides[d] * plan.shape[d];
      index[d] = 0;
    }
  }
  return out;
}

absl::StatusOr<TensorBytes> ReadTensor(const TensorPlan& plan, const StorageReader& read) {
  ATELIER_ASSIGN_OR_RETURN(TensorBytes storage, read(plan.key));
  const size_t width = ElementSize(plan.type);
  if (storage.bytes().size() / width < static_cast<size_t>(plan.storage_elements)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the file is truncated: storage \"", plan.key, "\" has ", storage.bytes().size(),
        " bytes instead of ", static_cast<size_t>(plan.storage_elements) * width));
  }
  if (plan.elements == 0) return TensorBytes{};
  if (!IsContiguous(plan)) {
    TensorBytes out;
    out.owned = ToFloat32(plan.type, Gather(plan, storage.bytes()));
    return out;
  }
  const size_t begin = static_cast<size_t>(plan.offset) * width;
  const size_t length = static_cast<size_t>(plan.elements) * width;
  if (plan.type == ElementType::kF32) {
    if (storage.owned.empty()) return TensorBytes{"", storage.view.substr(begin, length)};
    if (begin == 0 && length == storage.owned.size()) return storage;
  }
  TensorBytes out;
  out.owned = ToFloat32(plan.type, storage.bytes().substr(begin, length));
  return out;
}

// The dictionary that holds tensors: the root, or what checkpoints put below a well-known key.
const Value* FindStateDict(const Pickle& pickle) {
  const auto has_tensors = [&](const Value& dict) {
    for (size_t i = 1; i < dict.items.size(); i += 2) {
      if (pickle.at(dict.items[i]).kind == Kind::kTensor) return true;
    }
    return false;
  };
  if (pickle.root().kind == Kind::kDict && has_tensors(pickle.root())) return &pickle.root();
  for (const char* key : {"state_dict", "model_state_dict", "state_dict_ema", "model", "net"}) {
    const Value* inner = pickle.Get(pickle.root(), key);
    if (inner != nullptr && inner->kind == Kind::kDict && has_tensors(*inner)) return inner;
  }
  return nullptr;
}

std::string ModuleOf(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

absl::StatusOr<Source> FromStateDict(const Pickle& pickle, std::string format,
                                     const StorageReader& read) {
  const Value* dict = FindStateDict(pickle);
  if (dict == nullptr) {
    return absl::InvalidArgumentError(
        "no state dict in it: expected a dictionary from names to tensors (or one below "
        "\"state_dict\" or \"model\"), as torch.save(model.state_dict(), FILE) writes");
  }
  Source source;
  source.format = std::move(format);
  source.layout = Layout::kTorch;
  source.order = Order::kSequence;
  SourceContainer container;
  if (dict->items.size() / 2 > kMaxTensors) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxTensors, " tensors"));
  }
  for (size_t i = 0; i + 1 < dict->items.size(); i += 2) {
    const Value& key = pickle.at(dict->items[i]);
    const Value& value = pickle.at(dict->items[i + 1]);
    const std::string name(key.kind == Kind::kText ? key.text : "?");
    if (value.kind != Kind::kTensor) {
      source.left_out.push_back({name, {}, "no tensor"});
      continue;
    }
    auto plan = PlanTensor(pickle, value);
    if (!plan.ok()) return Annotate(plan.status(), absl::StrCat("tensor \"", name, "\""));
    if (!IsFloating(plan->type)) {
      source.left_out.push_back({name, plan->shape, "a counter, not a weight"});
      continue;
    }
    SourceTensor tensor;
    tensor.name = name;
    tensor.shape = plan->shape;
    tensor.dtype = ElementName(plan->type);
    tensor.floating = true;
    tensor.read = [plan = *plan, read] { return ReadTensor(plan, read); };
    if (container.layers.empty() || container.layers.back().name != ModuleOf(name)) {
      container.layers.push_back({ModuleOf(name), "", {}});
    }
    container.layers.back().tensors.push_back(std::move(tensor));
  }
  source.containers.push_back(std::move(container));
  return source;
}

// Reads one pickle of the legacy stream and moves past it.
absl::StatusOr<Pickle> Next(std::string_view bytes, size_t* at) {
  ATELIER_ASSIGN_OR_RETURN(Pickle pickle, Pickle::Parse(bytes.substr(*at)));
  *at += pickle.consumed();
  return pickle;
}

// Of every storage that a tensor of `state` names: the legacy stream gives only counts of elements.
absl::StatusOr<std::map<std::string, ElementType>> TypesByStorage(const Pickle& state) {
  std::map<std::string, ElementType> types;
  for (const Value& value : state.values()) {
    if (value.kind != Kind::kStorage) continue;
    ATELIER_ASSIGN_OR_RETURN(const ElementType type, StorageType(state.at(value.items[0]).text));
    const auto [it, inserted] = types.try_emplace(std::string(state.at(value.items[1]).text), type);
    if (it->second != type) {
      return absl::InvalidArgumentError(
          absl::StrCat("storage \"", it->first, "\" is claimed to have two types"));
    }
  }
  return types;
}

// The storages of the legacy format, which follow each other in the order of `keys`.
absl::StatusOr<std::map<std::string, std::string_view>> LegacyStorages(const Pickle& state,
                                                                       const Pickle& keys,
                                                                       std::string_view bytes) {
  if (keys.root().kind != Kind::kList) {
    return absl::InvalidArgumentError("the list of storages is missing");
  }
  ATELIER_ASSIGN_OR_RETURN(const auto types, TypesByStorage(state));
  std::map<std::string, std::string_view> storages;
  for (const Pickle::Ref ref : keys.root().items) {
    if (keys.at(ref).kind != Kind::kText) {
      return absl::InvalidArgumentError("the list of storages is damaged");
    }
    const std::string key(keys.at(ref).text);
    const auto type = types.find(key);
    if (type == types.end()) {
      return absl::InvalidArgumentError(absl::StrCat("storage \"", key, "\" belongs to no tensor"));
    }
    uint64_t elements = 0;
    if (bytes.size() < sizeof elements) {
      return absl::InvalidArgumentError(
          absl::StrCat("the file is truncated before storage \"", key, "\""));
    }
    std::memcpy(&elements, bytes.data(), sizeof elements);
    bytes.remove_prefix(sizeof elements);
    const size_t width = ElementSize(type->second);
    if (elements > bytes.size() / width) {
      return absl::InvalidArgumentError(absl::StrCat("the file is truncated: storage \"", key,
                                                     "\" should have ", elements, " elements"));
    }
    storages[key] = bytes.substr(0, elements * width);
    bytes.remove_prefix(elements * width);
  }
  return storages;
}

}  // namespace

bool LooksLikeLegacyTorch(std::string_view head) {
  // PROTO 2, LONG1 of 10 bytes: the magic number.
  return head.substr(0, 4) == std::string_view("\x80\x02\x8a\x0a", 4);
}

absl::StatusOr<Source> ReadTorchLegacy(std::shared_ptr<InputFile> file) {
  ATELIER_ASSIGN_OR_RETURN(const std::string_view bytes, file->Map());
  size_t at = 0;
  ATELIER_ASSIGN_OR_RETURN(const Pickle magic, Next(bytes, &at));
  ATELIER_ASSIGN_OR_RETURN(const Pickle protocol, Next(bytes, &at));
  ATELIER_ASSIGN_OR_RETURN(const Pickle system, Next(bytes, &at));
  const Value* little = system.Get(system.root(), "little_endian");
  if (magic.root().kind != Kind::kInt || magic.root().number != kLegacyMagic ||
      protocol.root().kind != Kind::kInt || protocol.root().number != kLegacyProtocol ||
      little == nullptr || little->kind != Kind::kBool || little->number != 1) {
    return absl::InvalidArgumentError(
        "not a little-endian PyTorch file of protocol 1001 (torch.save's legacy format)");
  }
  ATELIER_ASSIGN_OR_RETURN(const Pickle state, Next(bytes, &at));
  ATELIER_ASSIGN_OR_RETURN(const Pickle keys, Next(bytes, &at));
  ATELIER_ASSIGN_OR_RETURN(auto storages, LegacyStorages(state, keys, bytes.substr(at)));
  auto shared =
      std::make_shared<const std::map<std::string, std::string_view>>(std::move(storages));
  const StorageReader read = [file, shared](const std::string& key) -> absl::StatusOr<TensorBytes> {
    const auto it = shared->find(key);
    if (it == shared->end()) {
      return absl::InvalidArgumentError(absl::StrCat("storage \"", key, "\" is missing"));
    }
    return TensorBytes{"", it->second};
  };
  return FromStateDict(state, "PyTorch state dict (legacy format)", read);
}

int FindTorchPickle(const ZipArchive& archive) {
  for (size_t i = 0; i < archive.members().size(); ++i) {
    const std::string& name = archive.members()[i].name;
    const size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash) == "/data.pkl") return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<Source> ReadTorchZip(std::shared_ptr<ZipArchive> archive) {
  const int index = FindTorchPickle(*archive);
  if (index < 0) return absl::InvalidArgumentError("no data.pkl in the archive");
  const std::string& pickle_name = archive->members()[static_cast<size_t>(index)].name;
  const std::string root = pickle_name.substr(0, pickle_name.size() - 8);
  if (archive->Find(root + "constants.pkl") >= 0) {
    return absl::InvalidArgumentError(
        "a TorchScript archive, which holds code; save torch.save(model.state_dict(), FILE)");
  }
  const int order = archive->Find(root + "byteorder");
  if (order >= 0) {
    ATELIER_ASSIGN_OR_RETURN(const std::string text, archive->Read(order, 64));
    if (text != "little") {
      return absl::InvalidArgumentError("written on a big-endian machine; save it on another");
    }
  }
  // The texts of the parsed pickle point into these bytes.
  ATELIER_ASSIGN_OR_RETURN(const std::string bytes, archive->Read(index, kMaxPickleBytes));
  ATELIER_ASSIGN_OR_RETURN(const Pickle pickle, Pickle::Parse(bytes));
  const StorageReader read = [archive,
                              root](const std::string& key) -> absl::StatusOr<TensorBytes> {
    const int member = archive->Find(absl::StrCat(root, "data/", key));
    if (member < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("storage \"", key, "\" is missing from the archive"));
    }
    TensorBytes out;
    ATELIER_ASSIGN_OR_RETURN(out.owned, archive->Read(member, kMaxFileBytes));
    return out;
  };
  return FromStateDict(pickle, "PyTorch state dict (zip format)", read);
}

}  // namespace atelier::convert
