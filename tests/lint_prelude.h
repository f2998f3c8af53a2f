// Included before everything where clang reads the sources (tests/lint.sh). In C++20 libstdc++'s
// std::vector is constexpr, so clang instantiates its members where LibTorch 1.13 first names a
// vector of the still incomplete c10::IValue, and fails. Without constexpr it waits for their use.
#include <string>  // stays constexpr

// NOLINTBEGIN(bugprone-reserved-identifier): the library's own names are what is meant
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR
#define __fill_a1 __fill_a1_of_vector_bool  // <string> declared it constexpr
#include <vector>
#undef __fill_a1
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR constexpr
// NOLINTEND(bugprone-reserved-identifier)
