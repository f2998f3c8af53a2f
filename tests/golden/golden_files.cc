#include "tests/golden/golden_files.h"

#include <spawn.h>
#include <sys/wait.h>
#include <zip.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <vector>

extern char** environ;

namespace atelier::nn::testing {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "." : value;
}

at::Tensor ParseNpy(const std::string& bytes) {
  if (bytes.size() < 10 || bytes.compare(1, 5, "NUMPY") != 0) throw std::runtime_error("no .npy");
  const size_t header = static_cast<uint8_t>(bytes[8]) + 256U * static_cast<uint8_t>(bytes[9]);
  const std::string text = bytes.substr(10, header);
  std::smatch match;
  if (!std::regex_search(text, match, std::regex("'shape': \\(([^)]*)\\)"))) {
    throw std::runtime_error("no shape in .npy");
  }
  std::vector<int64_t> shape;
  std::stringstream dims(match[1].str());
  for (std::string dim; std::getline(dims, dim, ',');) {
    if (dim.find_first_of("0123456789") != std::string::npos) shape.push_back(std::stoll(dim));
  }
  const bool is_float = text.find("<f4") != std::string::npos;
  if (!is_float && text.find("|u1") == std::string::npos) throw std::runtime_error("type of .npy");
  at::Tensor out = at::empty(shape, is_float ? at::kFloat : at::kByte);
  if (bytes.size() != 10 + header + out.nbytes()) throw std::runtime_error("size of .npy");
  std::memcpy(out.data_ptr(), bytes.data() + 10 + header, out.nbytes());
  return out;
}

}  // namespace

std::filesystem::path SharedGoldens() {
  return std::filesystem::path(Variable("ATELIER_SOURCE_DIR")) / ".." / "shared" / "goldens";
}

at::Tensor ReadNpy(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return ParseNpy({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
}

at::Tensor ReadNpz(const std::filesystem::path& path, const std::string& array) {
  const std::unique_ptr<zip_t, decltype(&zip_discard)> archive(
      zip_open(path.c_str(), ZIP_RDONLY, nullptr), zip_discard);
  if (archive == nullptr) throw std::runtime_error("no zip: " + path.filename().string());
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(
      zip_fopen(archive.get(), (array + ".npy").c_str(), 0), zip_fclose);
  if (file == nullptr) throw std::runtime_error("no array " + array);
  std::string bytes;
  char buffer[4096];
  for (zip_int64_t n; (n = zip_fread(file.get(), buffer, sizeof(buffer))) > 0;) {
    bytes.append(buffer, static_cast<size_t>(n));
  }
  return ParseNpy(bytes);
}

void ConvertGolden(const std::filesystem::path& source, const std::filesystem::path& output) {
  const std::string binary = Variable("ATELIER_BIN_DIR") + "/atelier-convert";
  std::vector<std::string> words = {binary, source.string(), "--output", output.string()};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  int status = -1;
  if (::posix_spawn(&child, binary.c_str(), nullptr, nullptr, argv.data(), environ) != 0 ||
      ::waitpid(child, &status, 0) != child || status != 0) {
    throw std::runtime_error("atelier-convert failed on " + source.filename().string());
  }
}

}  // namespace atelier::nn::testing
