#!/usr/bin/env bash
# clang-tidy over our sources with the checks of .clang-tidy.
# Usage: bash tests/lint.sh [FILE...]     default: every .cc that git knows
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash deploy/setup.sh --lint
# clang cannot read GCC's precompiled header: a configuration of its own, whose generated code is built.
cmake --preset debug -B build-lint -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 >/dev/null
cmake --build build-lint --target atelier_protos atelier_grpc_stubs atelier_inference_protos \
  atelier_inference_grpc atelier_torch_pch
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files '*.cc'); fi
printf '%s\0' "${files[@]}" |
  xargs -0 -n 4 -P "$(nproc)" clang-tidy-19 -p build-lint --quiet --warnings-as-errors='*'
echo "lint: ${#files[@]} files are clean"
