// A cautious reader over HDF5's C API: everything in the file is checked before anything is read.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/cli/convert/input_file.h"
#include "services/cli/convert/source.h"

namespace atelier::convert {

// Not thread-safe (nor is Debian's HDF5).
class Hdf5File : public std::enable_shared_from_this<Hdf5File> {
 public:
  struct Dataset {
    std::string path;  // "layers/dense/vars/0"
    std::vector<int64_t> shape;
    std::string dtype;
    bool floating = false;
  };

  // Walks the whole file. InvalidArgument for anything that reaches outside it or needs code from
  // elsewhere: external, soft and user-defined links, virtual data sets, external raw data,
  // filters other than deflate, shuffle and fletcher32; also for a damaged or truncated file.
  // ResourceExhausted beyond kMaxTensors, kMaxRank, 100,000 objects or 32 levels.
  static absl::StatusOr<std::shared_ptr<Hdf5File>> Open(std::shared_ptr<InputFile> file);
  ~Hdf5File();

  const std::vector<Dataset>& datasets() const { return datasets_; }  // in order of names
  const Dataset* Find(std::string_view path) const;
  bool HasGroup(std::string_view path) const;
  bool HasAttribute(const std::string& group, const std::string& name) const;
  // An attribute that is a list of strings. Keras splits long ones into NAME0, NAME1, …
  absl::StatusOr<std::vector<std::string>> StringList(const std::string& group,
                                                      const std::string& name) const;
  absl::StatusOr<TensorBytes> ReadFloat32(const Dataset& dataset) const;
  // Named for reports: `name` instead of the path.
  SourceTensor ToSourceTensor(const Dataset& dataset, std::string name);

 private:
  struct Handle;
  Hdf5File();
  absl::Status Walk(const std::string& path, int depth);
  absl::Status Visit(const std::string& path, int depth);
  absl::Status CheckDataset(int64_t id, const std::string& path);

  std::unique_ptr<Handle> handle_;
  std::vector<Dataset> datasets_;
  std::vector<std::string> groups_;
};

}  // namespace atelier::convert
