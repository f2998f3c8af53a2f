// Reads a pickle without executing anything. Globals are looked up in a short allow-list and only
// ever make plain data; every other name, and every opcode that could call or import something
// else, is refused by name. The format: Python's pickletools, protocols 0-5.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace atelier::convert {

// Values live in an arena and refer to one another by index, so neither deep nesting nor cycles
// cost recursion.
class Pickle {
 public:
  using Ref = uint32_t;
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kTuple,
    kList,
    kDict,
    kGlobal,
    kStorage,
    kTensor
  };
  struct Value {
    Kind kind = Kind::kNone;
    int64_t number = 0;      // kBool, kInt
    double real = 0;         // kFloat
    std::string_view text;   // kText (into the input) and kGlobal ("torch FloatStorage")
    std::vector<Ref> items;  // kTuple, kList; kDict: key, value, key, value, …
  };
  // kStorage: items = [text of the type, key, elements]; kTensor: items = [storage, offset, shape,
  // strides].

  // Parses one pickle at the start of `bytes` (which must outlive the result). InvalidArgument:
  // damaged, or refused; ResourceExhausted: more than 4 million opcodes or values.
  static absl::StatusOr<Pickle> Parse(std::string_view bytes);

  const Value& root() const { return values_[root_]; }
  const Value& at(Ref ref) const { return values_[ref]; }
  // Everything the pickle made, reachable from the root or not.
  const std::vector<Value>& values() const { return values_; }
  // Bytes consumed, up to and with STOP.
  size_t consumed() const { return consumed_; }
  // The value of a text key of a dictionary; nullptr when absent. The last one wins, as in Python.
  const Value* Get(const Value& dict, std::string_view key) const;

 private:
  friend class Unpickler;
  std::vector<Value> values_;
  Ref root_ = 0;
  size_t consumed_ = 0;
};

}  // namespace atelier::convert
