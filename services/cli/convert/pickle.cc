#include "services/cli/convert/pickle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::convert {

namespace {

constexpr size_t kMaxSteps = 4'000'000;
constexpr Pickle::Ref kMark = std::numeric_limits<Pickle::Ref>::max();

// "module name" of everything a state dict may mention.
constexpr std::array kAllowedGlobals = {
    std::string_view("collections OrderedDict"),
    std::string_view("torch._utils _rebuild_tensor_v2"),
    std::string_view("torch._utils _rebuild_parameter"),
    std::string_view("torch FloatStorage"),
    std::string_view("torch DoubleStorage"),
    std::string_view("torch HalfStorage"),
    std::string_view("torch BFloat16Storage"),
    std::string_view("torch LongStorage"),
    std::string_view("torch IntStorage"),
    std::string_view("torch ShortStorage"),
    std::string_view("torch CharStorage"),
    std::string_view("torch ByteStorage"),
    std::string_view("torch BoolStorage"),
};

std::string Printable(std::string_view text) {
  return absl::CHexEscape(std::string(text.substr(0, 80)));
}

}  // namespace

class Unpickler {
 public:
  explicit Unpickler(std::string_view bytes) : in_(bytes) {}

  absl::StatusOr<Pickle> Run() {
    for (size_t steps = 0; steps < kMaxSteps; ++steps) {
      std::string_view op;
      ATELIER_RETURN_IF_ERROR(Take(1, &op));
      if (op[0] == '.') {
        ATELIER_ASSIGN_OR_RETURN(out_.root_, Pop());
        out_.consumed_ = at_;
        return std::move(out_);
      }
      ATELIER_RETURN_IF_ERROR(Step(op[0]));
      if (out_.values_.size() > kMaxSteps) break;
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("the pickle has more than ", kMaxSteps, " steps"));
  }

 private:
  using Ref = Pickle::Ref;
  using Kind = Pickle::Kind;
  using Value = Pickle::Value;

  absl::Status Damaged(std::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("the pickle is damaged at byte ", at_, ": ", std::string(what)));
  }

  absl::Status Take(size_t n, std::string_view* out) {
    if (n > in_.size() - at_) return Damaged("it ends too early");
    *out = in_.substr(at_, n);
    at_ += n;
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Unsigned(size_t width) {
    std::string_view raw;
    ATELIER_RETURN_IF_ERROR(Take(width, &raw));
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(raw[i])) << (8 * i);
    }
    return value;
  }

  absl::StatusOr<std::string_view> Counted(size_t width) {
    ATELIER_ASSIGN_OR_RETURN(const uint64_t n, Unsigned(width));
    if (n > in_.size() - at_) return Damaged("a text is longer than the file");
    std::string_view text;
    ATELIER_RETURN_IF_ERROR(Take(n, &text));
    return text;
  }

  absl::StatusOr<std::string_view> Line() {
    const size_t end = in_.find('\n', at_);
    if (end == std::string_view::npos) return Damaged("a line without end");
    const std::string_view line = in_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  void Push(Value value) {
    stack_.push_back(static_cast<Ref>(out_.values_.size()));
    out_.values_.push_back(std::move(value));
  }
  void PushKind(Kind kind, int64_t number = 0) {
    Value value;
    value.kind = kind;
    value.number = number;
    Push(std::move(value));
  }
  void PushText(std::string_view text) {
    Value value;
    value.kind = Kind::kText;
    value.text = text;
    Push(std::move(value));
  }

  absl::StatusOr<Ref> Pop() {
    if (stack_.empty() || stack_.back() == kMark) return Damaged("the stack is empty");
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  absl::StatusOr<Ref> Top() const {
    if (stack_.empty() || stack_.back() == kMark) return Damaged("the stack is empty");
    return stack_.back();
  }
  // Everything above the topmost mark, in order.
  absl::StatusOr<std::vector<Ref>> PopToMark() {
    size_t begin = stack_.size();
    while (begin > 0 && stack_[begin - 1] != kMark) --begin;
    if (begin == 0) return Damaged("no mark");
    std::vector<Ref> items(stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin - 1);
    return items;
  }

  absl::Status MakeTuple(std::vector<Ref> items) {
    Value value;
    value.kind = Kind::kTuple;
    value.items = std::move(items);
    Push(std::move(value));
    return absl::OkStatus();
  }
  absl::Status MakeTupleOf(size_t n) {
    std::vector<Ref> items(n);
    while (n > 0) {
      ATELIER_ASSIGN_OR_RETURN(items[--n], Pop());
    }
    return MakeTuple(std::move(items));
  }
  absl::Status MakeFromMark(Kind kind) {
    ATELIER_ASSIGN_OR_RETURN(std::vector<Ref> items, PopToMark());
    if (kind == Kind::kDict && items.size() % 2 != 0) return Damaged("a key without value");
    Value value;
    value.kind = kind;
    value.items = std::move(items);
    Push(std::move(value));
    return absl::OkStatus();
  }

  absl::Status Extend(Kind kind, const std::vector<Ref>& items) {
    ATELIER_ASSIGN_OR_RETURN(const Ref target, Top());
    if (out_.values_[target].kind != kind || (kind == Kind::kDict && items.size() % 2 != 0)) {
      return Damaged(kind == Kind::kDict ? "items set on something that is no dictionary"
                                         : "items added to something that is no list");
    }
    std::vector<Ref>& to = out_.values_[target].items;
    to.insert(to.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status Remember(uint64_t slot) {
    ATELIER_ASSIGN_OR_RETURN(const Ref top, Top());
    memo_[slot] = top;
    return absl::OkStatus();
  }
  absl::Status Recall(uint64_t slot) {
    const auto it = memo_.find(slot);
    if (it == memo_.end()) return Damaged("a reference to nothing");
    stack_.push_back(it->second);
    return absl::OkStatus();
  }

  absl::Status Global(std::string_view module, std::string_view name) {
    const std::string full = absl::StrCat(std::string(module), " ", std::string(name));
    for (const std::string_view allowed : kAllowedGlobals) {
      if (allowed == full) {
        Value value;
        value.kind = Kind::kGlobal;
        value.text = allowed;
        Push(std::move(value));
        return absl::OkStatus();
      }
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "refused: the pickle asks for ", Printable(module), ".", Printable(name),
        "; only tensors in plain or ordered dictionaries are read (nothing is ever executed). "
        "Save the weights again with torch.save(model.state_dict(), FILE)"));
  }

  absl::Status StackGlobal() {
    ATELIER_ASSIGN_OR_RETURN(const Ref name, Pop());
    ATELIER_ASSIGN_OR_RETURN(const Ref module, Pop());
    if (out_.values_[name].kind != Kind::kText || out_.values_[module].kind != Kind::kText) {
      return Damaged("a global without name");
    }
    return Global(out_.values_[module].text, out_.values_[name].text);
  }

  absl::Status Reduce() {
    ATELIER_ASSIGN_OR_RETURN(const Ref args_ref, Pop());
    ATELIER_ASSIGN_OR_RETURN(const Ref callee_ref, Pop());
    const Value callee = out_.values_[callee_ref];
    const Value args = out_.values_[args_ref];
    if (callee.kind != Kind::kGlobal || args.kind != Kind::kTuple) {
      return absl::InvalidArgumentError("refused: the pickle calls something that is no name");
    }
    const auto kind_of = [&](size_t i) { return out_.values_[args.items[i]].kind; };
    if (callee.text == "collections OrderedDict") {
      if (!args.items.empty()) return Damaged("OrderedDict with arguments");
      PushKind(Kind::kDict);
      return absl::OkStatus();
    }
    if (callee.text == "torch._utils _rebuild_tensor_v2") {
      if (args.items.size() < 4 || kind_of(0) != Kind::kStorage || kind_of(1) != Kind::kInt ||
          kind_of(2) != Kind::kTuple || kind_of(3) != Kind::kTuple) {
        return Damaged("_rebuild_tensor_v2 with unexpected arguments");
      }
      Value tensor;
      tensor.kind = Kind::kTensor;
      tensor.items.assign(args.items.begin(), args.items.begin() + 4);
      Push(std::move(tensor));
      return absl::OkStatus();
    }
    if (callee.text == "torch._utils _rebuild_parameter") {
      if (args.items.empty() || kind_of(0) != Kind::kTensor) {
        return Damaged("_rebuild_parameter with unexpected arguments");
      }
      stack_.push_back(args.items[0]);
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("refused: the pickle calls ", std::string(callee.text)));
  }

  // Only the attributes of an OrderedDict (_metadata), which say nothing about tensors.
  absl::Status Build() {
    ATELIER_RETURN_IF_ERROR(Pop().status());
    ATELIER_ASSIGN_OR_RETURN(const Ref target, Top());
    if (out_.values_[target].kind != Kind::kDict) {
      return absl::InvalidArgumentError(
          "refused: the pickle sets the state of something that is no dictionary");
    }
    return absl::OkStatus();
  }

  // torch: ("storage", TYPE, key, location, elements[, view]).
  absl::Status PersistentId() {
    ATELIER_ASSIGN_OR_RETURN(const Ref ref, Pop());
    const Value id = out_.values_[ref];
    const auto item = [&](size_t i) -> const Value& { return out_.values_[id.items[i]]; };
    if (id.kind != Kind::kTuple || id.items.size() < 5 || item(0).kind != Kind::kText ||
        item(0).text != "storage" || item(1).kind != Kind::kGlobal ||
        !absl::EndsWith(std::string(item(1).text), "Storage") || item(2).kind != Kind::kText ||
        item(4).kind != Kind::kInt) {
      return absl::InvalidArgumentError(
          "refused: the pickle refers to something outside it that is no tensor storage");
    }
    if (id.items.size() > 5 && item(5).kind != Kind::kNone) {
      return absl::InvalidArgumentError(
          "the file has views of storages (PyTorch before 0.4); save it again with a newer one");
    }
    Value storage;
    storage.kind = Kind::kStorage;
    storage.items = {id.items[1], id.items[2], id.items[4]};
    Push(std::move(storage));
    return absl::OkStatus();
  }

  absl::Status Long() {
    ATELIER_ASSIGN_OR_RETURN(const uint64_t n, Unsigned(1));
    std::string_view raw;
    ATELIER_RETURN_IF_ERROR(Take(n, &raw));
    // Longer integers occur only as torch's magic number; their low 64 bits tell it apart.
    uint64_t value = n > 0 && (raw.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < std::min<size_t>(n, 8); ++i) {
      const auto byte = static_cast<uint64_t>(static_cast<unsigned char>(raw[i]));
      value = (value & ~(uint64_t{0xff} << (8 * i))) | (byte << (8 * i));
    }
    PushKind(Kind::kInt, static_cast<int64_t>(value));
    return absl::OkStatus();
  }

  absl::Status Float() {
    ATELIER_ASSIGN_OR_RETURN(const uint64_t little, Unsigned(8));
    const uint64_t bits = __builtin_bswap64(little);
    Value value;
    value.kind = Kind::kFloat;
    std::memcpy(&value.real, &bits, sizeof bits);
    Push(std::move(value));
    return absl::OkStatus();
  }

  absl::Status PushCounted(size_t width) {
    ATELIER_ASSIGN_OR_RETURN(const std::string_view text, Counted(width));
    PushText(text);
    return absl::OkStatus();
  }
  absl::Status PushUnsigned(size_t width) {
    ATELIER_ASSIGN_OR_RETURN(const uint64_t n, Unsigned(width));
    // BININT alone is signed.
    PushKind(Kind::kInt, width == 4 ? static_cast<int32_t>(n) : static_cast<int64_t>(n));
    return absl::OkStatus();
  }
  absl::Status SlotOp(size_t width, bool put) {
    ATELIER_ASSIGN_OR_RETURN(const uint64_t slot, Unsigned(width));
    return put ? Remember(slot) : Recall(slot);
  }

  absl::Status Step(char op);
  absl::Status StructureStep(char op);

  std::string_view in_;
  size_t at_ = 0;
  std::vector<Ref> stack_;
  std::unordered_map<uint64_t, Ref> memo_;
  Pickle out_;
};

// Scalars, texts and the memo; the rest is StructureStep's.
absl::Status Unpickler::Step(char op) {
  std::string_view ignored;
  switch (static_cast<unsigned char>(op)) {
    case 0x80:
      return Take(1, &ignored);  // PROTO
    case 0x95:
      return Take(8, &ignored);  // FRAME
    case 'N':
      PushKind(Kind::kNone);
      return absl::OkStatus();
    case 0x88:
      PushKind(Kind::kBool, 1);
      return absl::OkStatus();
    case 0x89:
      PushKind(Kind::kBool, 0);
      return absl::OkStatus();
    case 'K':
      return PushUnsigned(1);  // BININT1
    case 'M':
      return PushUnsigned(2);  // BININT2
    case 'J':
      return PushUnsigned(4);  // BININT
    case 0x8a:
      return Long();  // LONG1
    case 'G':
      return Float();  // BINFLOAT
    case 'U':
    case 0x8c:
    case 'C':
      return PushCounted(1);  // SHORT_BIN{STRING,UNICODE,BYTES}
    case 'X':
    case 'T':
    case 'B':
      return PushCounted(4);  // BIN{UNICODE,STRING,BYTES}
    case 0x8d:
    case 0x8e:
      return PushCounted(8);  // BIN{UNICODE,BYTES}8
    case 'q':
      return SlotOp(1, true);  // BINPUT
    case 'r':
      return SlotOp(4, true);  // LONG_BINPUT
    case 'h':
      return SlotOp(1, false);  // BINGET
    case 'j':
      return SlotOp(4, false);  // LONG_BINGET
    case 0x94:
      return Remember(memo_.size());  // MEMOIZE
    case 'c': {                       // GLOBAL
      ATELIER_ASSIGN_OR_RETURN(const std::string_view module, Line());
      ATELIER_ASSIGN_OR_RETURN(const std::string_view name, Line());
      return Global(module, name);
    }
    case 0x93:
      return StackGlobal();
    default:
      return StructureStep(op);
  }
}

absl::Status Unpickler::StructureStep(char op) {
  switch (static_cast<unsigned char>(op)) {
    case '(':
      stack_.push_back(kMark);
      return absl::OkStatus();
    case '0': {  // POP: a value or a mark
      if (stack_.empty()) return Damaged("the stack is empty");
      stack_.pop_back();
      return absl::OkStatus();
    }
    case '1':
      return PopToMark().status();  // POP_MARK
    case ')':
      return MakeTuple({});
    case 't':
      return MakeFromMark(Kind::kTuple);
    case 0x85:
      return MakeTupleOf(1);
    case 0x86:
      return MakeTupleOf(2);
    case 0x87:
      return MakeTupleOf(3);
    case ']':
      PushKind(Kind::kList);
      return absl::OkStatus();
    case 'l':
      return MakeFromMark(Kind::kList);
    case '}':
      PushKind(Kind::kDict);
      return absl::OkStatus();
    case 'd':
      return MakeFromMark(Kind::kDict);
    case 'a': {  // APPEND
      ATELIER_ASSIGN_OR_RETURN(const Ref item, Pop());
      return Extend(Kind::kList, {item});
    }
    case 'e': {  // APPENDS
      ATELIER_ASSIGN_OR_RETURN(const std::vector<Ref> items, PopToMark());
      return Extend(Kind::kList, items);
    }
    case 's': {  // SETITEM
      ATELIER_ASSIGN_OR_RETURN(const Ref value, Pop());
      ATELIER_ASSIGN_OR_RETURN(const Ref key, Pop());
      return Extend(Kind::kDict, {key, value});
    }
    case 'u': {  // SETITEMS
      ATELIER_ASSIGN_OR_RETURN(const std::vector<Ref> items, PopToMark());
      return Extend(Kind::kDict, items);
    }
    case 'R':
      return Reduce();
    case 'b':
      return Build();
    case 'Q':
      return PersistentId();  // BINPERSID
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("refused: the pickle uses opcode 0x",
                       absl::Hex(static_cast<unsigned char>(op), absl::kZeroPad2), " at byte ",
                       at_ - 1, ", which a state dict does not need"));
  }
}

absl::StatusOr<Pickle> Pickle::Parse(std::string_view bytes) { return Unpickler(bytes).Run(); }

const Pickle::Value* Pickle::Get(const Value& dict, std::string_view key) const {
  const Value* found = nullptr;
  if (dict.kind != Kind::kDict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& k = values_[dict.items[i]];
    if (k.kind == Kind::kText && k.text == key) found = &values_[dict.items[i + 1]];
  }
  return found;
}

}  // namespace atelier::convert
