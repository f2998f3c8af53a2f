#include "services/cli/export/hdf5_writer.h"

#include <hdf5.h>

#include "absl/strings/str_cat.h"

namespace atelier::exporting {
namespace {

static_assert(sizeof(hid_t) == sizeof(int64_t));

absl::Status Failed(std::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write ", std::string(what), " (is the disk full?)"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Hdf5Writer>> Hdf5Writer::Create(const std::filesystem::path& path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (file < 0) return Failed(path.filename().string());
  return std::unique_ptr<Hdf5Writer>(new Hdf5Writer(file));
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

absl::Status Hdf5Writer::Write(const std::string& path, const std::vector<int64_t>& shape,
                               int64_t file_type, int64_t memory_type, const void* data) {
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  const hid_t space = shape.empty()
                          ? H5Screate(H5S_SCALAR)
                          : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const hid_t dataset =
      H5Dcreate2(file_, path.c_str(), file_type, space, links, H5P_DEFAULT, H5P_DEFAULT);
  const bool written =
      dataset >= 0 && H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
  const bool closed = dataset >= 0 && H5Dclose(dataset) >= 0;
  H5Pclose(links);
  H5Sclose(space);
  return written && closed ? absl::OkStatus() : Failed(path);
}

absl::Status Hdf5Writer::Floats(const std::string& path, const std::vector<int64_t>& shape,
                                std::string_view bytes) {
  return Write(path, shape, H5T_IEEE_F32LE, H5T_IEEE_F32LE, bytes.data());
}

absl::Status Hdf5Writer::Integer(const std::string& path, int64_t value) {
  return Write(path, {}, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

absl::Status Hdf5Writer::Close() {
  const bool flushed = H5Fflush(file_, H5F_SCOPE_GLOBAL) >= 0;
  const bool closed = H5Fclose(file_) >= 0;
  file_ = -1;
  return flushed && closed ? absl::OkStatus() : Failed("the HDF5 file");
}

}  // namespace atelier::exporting
