#!/usr/bin/env bash
# libFuzzer (clang-22, with AddressSanitizer and UBSan) over what reads strangers' bytes.
# Usage: bash tests/fuzz/run.sh [TARGET|all] [SECONDS]     default: all, 60 s each
#   bash tests/fuzz/run.sh picture 600
#   bash tests/fuzz/run.sh all 0             only builds
# Builds into build-fuzz, only the libraries the targets need. What the fuzzer learns stays in
# build-fuzz/corpus; what it finds is in build-fuzz/findings/TARGET: mend it, and keep the input in
# tests/fuzz/regressions/TARGET, which every build replays (ctest -L fuzz).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${2:-60}
declare -A extra=([picture]=tests/unit/vision/testdata [recipe]=services/cli/recipe)
mapfile -t targets < <(basename -s _fuzz.cc -a tests/fuzz/*_fuzz.cc)
[ "${1:-all}" = all ] || targets=("$1")

command -v clang++-22 >/dev/null || bash deploy/setup.sh --lint
# Warnings are GCC's business.
cmake --preset debug -B build-fuzz -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS="-w -fno-sanitize-recover=undefined" \
  -DATELIER_SANITIZE=fuzzer-no-link,address,undefined -DATELIER_FUZZ=ON >/dev/null
cmake --build build-fuzz --parallel "$(nproc)" --target make_fuzz_seeds "${targets[@]/#/fuzz_}"

if [ "$seconds" -eq 0 ]; then exit 0; fi

# Containers of an uninstrumented library look overflown to ASan. Memory that is refused is null, as
# under the limits of the converter.
export ASAN_OPTIONS=detect_container_overflow=0:allocator_may_return_null=1:max_allocation_size_mb=2900
export LSAN_OPTIONS=suppressions=$PWD/tests/sanitizers/lsan.supp:print_suppressions=0
export TMPDIR=/dev/shm
build-fuzz/tests/make_fuzz_seeds build-fuzz/seeds
failed=0
for target in "${targets[@]}"; do
  corpus=build-fuzz/corpus/$target findings=build-fuzz/findings/$target
  mkdir -p "$corpus" "$findings"
  inputs=("$corpus")
  for folder in "build-fuzz/seeds/$target" "tests/fuzz/regressions/$target" ${extra[$target]:-}; do
    if [ -d "$folder" ]; then inputs+=("$folder"); fi
  done
  echo "fuzz: $target for $seconds s"
  options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1
    -artifact_prefix="$findings/")
  # libhdf5 1.10 has faults of its own: the search goes on after one, and what was found is told apart below.
  if [ "$target" = hdf5 ]; then options+=(-fork=1 -ignore_crashes=1); fi
  "build-fuzz/tests/fuzz_$target" "${options[@]}" "${inputs[@]}" >"build-fuzz/$target.log" 2>&1 ||
    [ "$target" = hdf5 ] || { failed=1; echo "fuzz: $target FAILED, see build-fuzz/$target.log"; }
  grep -aE '^stat::(number_of_executed_units|new_units_added|peak_rss_mb)|ERROR|does not hold|runtime error' \
    "build-fuzz/$target.log" | sort | uniq -c | sort -rn | head -n 8 || true
  if [ "$target" = hdf5 ]; then
    grep -a '^#[0-9]*: cov' "build-fuzz/$target.log" | tail -n 1
    theirs=0
    for input in "$findings"/*-*; do
      [ -f "$input" ] || continue
      # Above libhdf5's frame there may be one of libc and one of the sanitizer's runtime.
      trace=$("build-fuzz/tests/fuzz_$target" "$input" 2>&1 || true)
      if grep -aE -m 3 '^ +#[0-2] ' <<<"$trace" | grep libhdf5 >/dev/null; then
        theirs=$((theirs + 1))
      else
        failed=1
        echo "fuzz: hdf5 FAILED: $input"
      fi
    done
    echo "fuzz: hdf5: $theirs inputs break libhdf5 itself, which only atelier-convert, a process of its own, calls"
  fi
done
exit "$failed"
