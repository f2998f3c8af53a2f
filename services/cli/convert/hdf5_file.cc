#include "services/cli/convert/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::convert {
namespace {

constexpr size_t kMaxObjects = 100'000;
constexpr int kMaxDepth = 32;
constexpr int64_t kMaxAttributeStrings = 65'536;
constexpr size_t kMaxAttributeBytes = 16 << 20;

// Closes an HDF5 id of any kind.
class Id {
 public:
  explicit Id(hid_t id) : id_(id) {}
  ~Id() {
    if (id_ >= 0) H5Idec_ref(id_);
  }
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  hid_t get() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
};

absl::Status Damaged(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the HDF5 file is damaged or truncated: cannot read ", std::string(what)));
}

std::string Quoted(const std::string& path) { return absl::StrCat("\"", path, "\""); }

std::string Root(const std::string& path) { return path.empty() ? "/" : path; }

struct LinkList {
  std::vector<std::pair<std::string, H5L_type_t>> links;
  bool too_many = false;
};

herr_t CollectLink(hid_t, const char* name, const H5L_info_t* info, void* data) {
  auto* list = static_cast<LinkList*>(data);
  if (list->links.size() >= kMaxObjects) {
    list->too_many = true;
    return 1;
  }
  list->links.emplace_back(name, info->type);
  return 0;
}

std::string TypeName(hid_t type, bool* floating) {
  const size_t bits = H5Tget_size(type) * 8;
  *floating = false;
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      *floating = bits == 16 || bits == 32 || bits == 64;
      return absl::StrCat("float", bits);
    case H5T_INTEGER:
      return absl::StrCat(H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int", bits);
    case H5T_STRING:
      return "string";
    default:
      return "other";
  }
}

absl::Status CheckStorage(hid_t dataset, const std::string& path) {
  const Id plist(H5Dget_create_plist(dataset));
  if (!plist.ok()) return Damaged(Quoted(path));
  if (H5Pget_layout(plist.get()) == H5D_VIRTUAL) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(path),
                     " is a virtual data set (its values lie in other files); such "
                     "files are refused"));
  }
  if (H5Pget_external_count(plist.get()) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(path), " keeps its values in another file; such files are refused"));
  }
  const int filters = H5Pget_nfilters(plist.get());
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    size_t values = 0;
    char name[64] = "";
    const H5Z_filter_t filter = H5Pget_filter2(plist.get(), static_cast<unsigned>(i), &flags,
                                               &values, nullptr, sizeof name, name, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(path), " is packed by filter ", static_cast<int>(filter),
                       "; only gzip, shuffle and fletcher32 are read"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ReadStrings(hid_t attribute, const std::string& name) {
  const Id type(H5Aget_type(attribute));
  const Id space(H5Aget_space(attribute));
  if (!type.ok() || !space.ok()) return Damaged(Quoted(name));
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (count < 0 || count > kMaxAttributeStrings) return Damaged(Quoted(name));
  std::vector<std::string> out;
  // An empty list is written as an empty array of floats.
  if (count == 0) return out;
  if (H5Tget_class(type.get()) != H5T_STRING) {
    return absl::InvalidArgumentError(
        absl::StrCat("the attribute ", Quoted(name), " is not a list of names"));
  }
  const size_t n = static_cast<size_t>(count);
  if (H5Tis_variable_str(type.get()) > 0) {
    const Id memory(H5Tcopy(H5T_C_S1));
    H5Tset_size(memory.get(), H5T_VARIABLE);
    H5Tset_cset(memory.get(), H5Tget_cset(type.get()));
    std::vector<char*> strings(n, nullptr);
    if (H5Aread(attribute, memory.get(), static_cast<void*>(strings.data())) < 0) {
      return Damaged(Quoted(name));
    }
    for (const char* s : strings) out.emplace_back(s == nullptr ? "" : s);
    H5Dvlen_reclaim(memory.get(), space.get(), H5P_DEFAULT, static_cast<void*>(strings.data()));
    return out;
  }
  const size_t width = H5Tget_size(type.get());
  if (width == 0 || width > kMaxAttributeBytes / n) return Damaged(Quoted(name));
  std::string bytes(n * width, '\0');
  if (H5Aread(attribute, type.get(), bytes.data()) < 0) return Damaged(Quoted(name));
  for (size_t i = 0; i < n; ++i) {
    std::string s = bytes.substr(i * width, width);
    out.push_back(s.substr(0, s.find('\0')));
  }
  return out;
}

}  // namespace

struct Hdf5File::Handle {
  std::shared_ptr<InputFile> input;
  hid_t file = -1;
};

Hdf5File::Hdf5File() : handle_(std::make_unique<Handle>()) {}

Hdf5File::~Hdf5File() {
  if (handle_->file >= 0) H5Fclose(handle_->file);
}

absl::StatusOr<std::shared_ptr<Hdf5File>> Hdf5File::Open(std::shared_ptr<InputFile> input) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);  // never loads a filter plug-in
  std::shared_ptr<Hdf5File> file(new Hdf5File);
  file->handle_->input = input;
  file->handle_->file = H5Fopen(input->ReopenablePath().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  input->Unlink();
  if (file->handle_->file < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(input->name(), " is not a complete HDF5 file (damaged or truncated?)"));
  }
  ATELIER_RETURN_IF_ERROR(file->Walk("", 0));
  return file;
}

absl::Status Hdf5File::Walk(const std::string& path, int depth) {
  if (depth > kMaxDepth) {
    return absl::ResourceExhaustedError(
        absl::StrCat("groups are nested more than ", kMaxDepth, " deep"));
  }
  groups_.push_back(path);
  if (groups_.size() + datasets_.size() > kMaxObjects) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxObjects, " objects"));
  }
  LinkList list;
  {
    const Id group(H5Gopen2(handle_->file, Root(path).c_str(), H5P_DEFAULT));
    if (!group.ok()) return Damaged(Quoted(path));
    hsize_t position = 0;
    if (H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, &position, CollectLink, &list) < 0) {
      return Damaged(Quoted(path));
    }
  }
  if (list.too_many) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxObjects, " objects"));
  }
  for (const auto& [name, type] : list.links) {
    const std::string child = path.empty() ? name : absl::StrCat(path, "/", name);
    if (type == H5L_TYPE_EXTERNAL) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(child), " is an external link (into another file); such files are refused"));
    }
    if (type != H5L_TYPE_HARD) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(child), " is a soft or user-defined link; only plain members are read"));
    }
    ATELIER_RETURN_IF_ERROR(Visit(child, depth));
  }
  return absl::OkStatus();
}

absl::Status Hdf5File::Visit(const std::string& path, int depth) {
  const Id object(H5Oopen(handle_->file, path.c_str(), H5P_DEFAULT));
  if (!object.ok()) return Damaged(Quoted(path));
  switch (H5Iget_type(object.get())) {
    case H5I_GROUP:
      return Walk(path, depth + 1);
    case H5I_DATASET:
      return CheckDataset(object.get(), path);
    default:
      return absl::OkStatus();  // a named type: nothing to read
  }
}

absl::Status Hdf5File::CheckDataset(int64_t id, const std::string& path) {
  if (datasets_.size() >= kMaxTensors) {
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxTensors, " tensors"));
  }
  ATELIER_RETURN_IF_ERROR(CheckStorage(id, path));
  const Id space(H5Dget_space(id));
  const Id type(H5Dget_type(id));
  if (!space.ok() || !type.ok()) return Damaged(Quoted(path));
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) return Damaged(Quoted(path));
  if (static_cast<size_t>(rank) > kMaxRank) {
    return absl::ResourceExhaustedError(
        absl::StrCat(Quoted(path), " has rank ", rank, "; at most ", kMaxRank, " is read"));
  }
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  if (rank > 0 && H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) < 0) {
    return Damaged(Quoted(path));
  }
  Dataset dataset;
  dataset.path = path;
  for (const hsize_t n : dims) dataset.shape.push_back(static_cast<int64_t>(n));
  const auto elements = CheckedElements(dataset.shape);
  if (!elements.ok()) return Annotate(elements.status(), Quoted(path));
  dataset.dtype = TypeName(type.get(), &dataset.floating);
  datasets_.push_back(std::move(dataset));
  return absl::OkStatus();
}

const Hdf5File::Dataset* Hdf5File::Find(std::string_view path) const {
  for (const Dataset& dataset : datasets_) {
    if (dataset.path == path) return &dataset;
  }
  return nullptr;
}

bool Hdf5File::HasGroup(std::string_view path) const {
  return std::find(groups_.begin(), groups_.end(), path) != groups_.end();
}

bool Hdf5File::HasAttribute(const std::string& group, const std::string& name) const {
  return HasGroup(group) &&
         H5Aexists_by_name(handle_->file, Root(group).c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

absl::StatusOr<std::vector<std::string>> Hdf5File::StringList(const std::string& group,
                                                              const std::string& name) const {
  std::vector<std::string> out;
  const bool whole = HasAttribute(group, name);
  if (!whole && !HasAttribute(group, name + "0")) {
    return absl::InvalidArgumentError(absl::StrCat("the group ", Quoted(Root(group)),
                                                   " has no attribute ", Quoted(name),
                                                   ", which Keras writes"));
  }
  for (int part = 0;; ++part) {
    const std::string attribute = whole ? name : absl::StrCat(name, part);
    if (!HasAttribute(group, attribute)) break;
    const Id id(H5Aopen_by_name(handle_->file, Root(group).c_str(), attribute.c_str(), H5P_DEFAULT,
                                H5P_DEFAULT));
    if (!id.ok()) return Damaged(Quoted(attribute));
    ATELIER_ASSIGN_OR_RETURN(const std::vector<std::string> strings,
                             ReadStrings(id.get(), attribute));
    out.insert(out.end(), strings.begin(), strings.end());
    if (whole) break;
  }
  return out;
}

absl::StatusOr<TensorBytes> Hdf5File::ReadFloat32(const Dataset& dataset) const {
  const Id id(H5Dopen2(handle_->file, dataset.path.c_str(), H5P_DEFAULT));
  ATELIER_ASSIGN_OR_RETURN(const int64_t elements, CheckedElements(dataset.shape));
  TensorBytes out;
  out.owned.resize(static_cast<size_t>(elements) * sizeof(float));
  if (!id.ok() || (elements > 0 && H5Dget_storage_size(id.get()) == 0)) {
    return Damaged(Quoted(dataset.path));
  }
  if (H5Dread(id.get(), H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.owned.data()) < 0) {
    return Damaged(Quoted(dataset.path));
  }
  return out;
}

SourceTensor Hdf5File::ToSourceTensor(const Dataset& dataset, std::string name) {
  SourceTensor tensor;
  tensor.name = std::move(name);
  tensor.shape = dataset.shape;
  tensor.dtype = dataset.dtype;
  tensor.floating = dataset.floating;
  tensor.read = [self = shared_from_this(), dataset] { return self->ReadFloat32(dataset); };
  return tensor;
}

}  // namespace atelier::convert
