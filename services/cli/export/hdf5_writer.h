// Writes HDF5 files of named tensors over HDF5's C API.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace atelier::exporting {

// Not thread-safe. Without Close the file is incomplete.
class Hdf5Writer {
 public:
  // Replaces `path`.
  static absl::StatusOr<std::unique_ptr<Hdf5Writer>> Create(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  // Groups on the way are made. Little-endian float32 in C order.
  absl::Status Floats(const std::string& path, const std::vector<int64_t>& shape,
                      std::string_view bytes);
  absl::Status Integer(const std::string& path, int64_t value);  // a scalar
  // ResourceExhausted when what was written does not fit on the disk.
  absl::Status Close();

 private:
  explicit Hdf5Writer(int64_t file) : file_(file) {}
  absl::Status Write(const std::string& path, const std::vector<int64_t>& shape, int64_t file_type,
                     int64_t memory_type, const void* data);
  int64_t file_;  // hid_t; negative once closed
};

}  // namespace atelier::exporting
