#include "services/trainer/byte_budget.h"

#include <gtest/gtest.h>

namespace atelier::trainer {
namespace {

class CountingReader final : public ByteBudget::Reader {
 public:
  void OnRoom() override { ++calls; }
  int calls = 0;
};

TEST(ByteBudget, CallsEveryReaderOnceWhenThereIsRoomAgain) {
  ByteBudget budget(10);
  CountingReader a;
  CountingReader b;
  EXPECT_TRUE(budget.HasRoomOrWait(a));
  budget.Take(8);
  EXPECT_TRUE(budget.HasRoomOrWait(a));
  budget.Take(8);  // somebody was reading when the last room went
  EXPECT_FALSE(budget.HasRoomOrWait(a));
  EXPECT_FALSE(budget.HasRoomOrWait(b));
  budget.Release(6);
  EXPECT_EQ(a.calls + b.calls, 0);
  budget.Release(1);
  EXPECT_EQ(a.calls, 1);
  EXPECT_EQ(b.calls, 1);
  budget.Release(9);
  EXPECT_EQ(a.calls, 1);
  EXPECT_EQ(b.calls, 1);
}

TEST(ByteBudget, WhoLeavesIsNotCalled) {
  ByteBudget budget(1);
  CountingReader stays;
  CountingReader leaves;
  budget.Take(1);
  EXPECT_FALSE(budget.HasRoomOrWait(stays));
  EXPECT_FALSE(budget.HasRoomOrWait(leaves));
  EXPECT_TRUE(budget.Leave(leaves));
  EXPECT_FALSE(budget.Leave(leaves));
  budget.Release(1);
  EXPECT_EQ(stays.calls, 1);
  EXPECT_EQ(leaves.calls, 0);
  EXPECT_FALSE(budget.Leave(stays));
}

}  // namespace
}  // namespace atelier::trainer
