#!/usr/bin/env bash
# clang-tidy over our sources with the checks of .clang-tidy.
# Usage: bash tests/lint.sh [FILE...]     default: every .cc that git knows
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash deploy/setup.sh --lint
# clang cannot read GCC's precompiled header: a configuration of its own, with its own generated code.
cmake --preset debug -B build-lint -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 \
  -DCMAKE_CXX_FLAGS="-include $PWD/tests/lint_prelude.h" >/dev/null
cmake --build build-lint --target atelier_generated atelier_torch_pch atelier_test_pch
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files '*.cc'); fi
# clang-tidy before 22 also checks system headers: five times as long. So, for LibTorch, does the deep
# mode of the analyzer, which follows calls into templates.
shallow=(--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=mode=shallow)
printf '%s\0' "${files[@]}" |
  xargs -0 -n 4 -P "$(nproc)" clang-tidy-22 -p build-lint --quiet --warnings-as-errors='*' "${shallow[@]}"
echo "lint: ${#files[@]} files are clean"
