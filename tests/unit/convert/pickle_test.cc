#include "services/cli/convert/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testing/status_matchers.h"
#include "tests/unit/convert/writers.h"

namespace atelier::convert {
namespace {

using ::atelier::testing::IsOk;
using ::atelier::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kRefused = absl::StatusCode::kInvalidArgument;

TEST(Pickle, ReadsDictionariesListsAndNumbers) {
  PickleWriter writer;
  const std::string bytes =
      writer.Op('}').Text("a").Op(']').Op('(').Int(1).Int(-2).Op('e').Op('s').Stop();
  const std::string longer = bytes + "rest";
  ASSERT_OK_AND_ASSIGN(const Pickle pickle, Pickle::Parse(longer));
  EXPECT_EQ(pickle.consumed(), bytes.size());
  const Pickle::Value* list = pickle.Get(pickle.root(), "a");
  ASSERT_NE(list, nullptr);
  ASSERT_EQ(list->items.size(), 2);
  EXPECT_EQ(pickle.at(list->items[0]).number, 1);
  EXPECT_EQ(pickle.at(list->items[1]).number, -2);
  EXPECT_EQ(pickle.Get(pickle.root(), "b"), nullptr);
}

TEST(Pickle, RefusesToCallOsSystemByName) {
  PickleWriter writer;
  const std::string bytes =
      writer.Global("os", "system").Op('(').Text("touch /tmp/owned").Op('t').Op('R').Stop();
  EXPECT_THAT(Pickle::Parse(bytes), StatusIs(kRefused, HasSubstr("os.system")));
}

TEST(Pickle, RefusesEvalThroughStackGlobal) {
  PickleWriter writer;
  const std::string bytes =
      writer.Text("builtins").Text("eval").Op('\x93').Text("1").Op('\x85').Op('R').Stop();
  EXPECT_THAT(Pickle::Parse(bytes), StatusIs(kRefused, HasSubstr("builtins.eval")));
}

TEST(Pickle, RefusesANameInTwoHalvesAndFamilyMembers) {
  for (const auto& [module, name] :
       {std::pair{"torch._utils", "_rebuild_tensor_v2.__globals__"}, std::pair{"torch", "load"},
        std::pair{"torch.storage", "_load_from_bytes"},
        std::pair{"collections", "OrderedDict.fromkeys"}, std::pair{"torch FloatStorage", ""}}) {
    PickleWriter writer;
    EXPECT_THAT(Pickle::Parse(writer.Global(module, name).Stop()),
                StatusIs(kRefused, HasSubstr("refused")))
        << module << " " << name;
  }
}

TEST(Pickle, RefusesNestedReduce) {
  PickleWriter writer;  // OrderedDict()() : calls the result of a call
  EXPECT_THAT(
      Pickle::Parse(
          writer.Global("collections", "OrderedDict").Op(')').Op('R').Op(')').Op('R').Stop()),
      StatusIs(kRefused, HasSubstr("refused")));
  PickleWriter storage;  // FloatStorage(): allowed as a name, not as a call
  EXPECT_THAT(Pickle::Parse(storage.Global("torch", "FloatStorage").Op(')').Op('R').Stop()),
              StatusIs(kRefused, HasSubstr("torch FloatStorage")));
}

TEST(Pickle, RefusesOpcodesThatInstantiate) {
  for (const char op : {'i', 'o', '\x81', '\x92', 'P', '\x82'}) {
    PickleWriter writer;
    EXPECT_THAT(Pickle::Parse(writer.Op('(').Op(op).Raw("os\nsystem\n").Stop()),
                StatusIs(kRefused, HasSubstr("opcode")))
        << static_cast<int>(op);
  }
}

TEST(Pickle, SetsStateOfDictionariesOnly) {
  PickleWriter list;
  EXPECT_THAT(Pickle::Parse(list.Op(']').Op('}').Op('b').Stop()), StatusIs(kRefused));
  PickleWriter dict;
  EXPECT_THAT(Pickle::Parse(dict.Op('}').Op('}').Op('b').Stop()), IsOk());
}

TEST(Pickle, RefusesPersistentIdsThatAreNoStorage) {
  PickleWriter writer;
  EXPECT_THAT(Pickle::Parse(writer.Op('(').Text("module").Text("x").Op('t').Op('Q').Stop()),
              StatusIs(kRefused, HasSubstr("storage")));
}

TEST(Pickle, AnswersEveryTruncation) {
  const std::string whole = StateDictPickle({{"a.weight", {2, 3}, {}, {1, 2, 3, 4, 5, 6}, 0}});
  ASSERT_THAT(Pickle::Parse(whole), IsOk());
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_THAT(Pickle::Parse(std::string_view(whole).substr(0, n)), StatusIs(kRefused)) << n;
  }
}

TEST(Pickle, SurvivesDeepNestingAndSelfReference) {
  std::string deep("\x80\x02)", 3);
  for (int i = 0; i < 1'000'000; ++i) deep += '\x85';  // a tuple in a tuple in …
  EXPECT_THAT(Pickle::Parse(deep + "."), IsOk());
  // A list that contains itself.
  EXPECT_THAT(Pickle::Parse(std::string_view("\x80\x02]q\x00h\x00"
                                             "a.",
                                             9)),
              IsOk());
}

TEST(Pickle, BoundsItsSteps) {
  std::string long_one("\x80\x02", 2);
  long_one.append(5'000'000, 'N');
  EXPECT_THAT(Pickle::Parse(long_one), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(Pickle, NeverCrashesOnRandomBytes) {
  uint32_t state = 1;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes("\x80\x02", 2);
    for (int i = 0; i < 40; ++i) {
      state = state * 1664525 + 1013904223;
      constexpr std::string_view kOps = "(0)1tRbQa]}seuldN\x85\x86\x87\x88K\x01q\x01h\x01.";
      bytes += kOps[(state >> 16) % kOps.size()];
    }
    const auto ignored = Pickle::Parse(bytes);
    static_cast<void>(ignored);
  }
}

}  // namespace
}  // namespace atelier::convert
