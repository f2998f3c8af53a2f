#!/usr/bin/env bash
# Builds the tests with sanitizers and runs them.
# Usage: bash tests/sanitize.sh asan|tsan [ctest arguments]
#   asan   AddressSanitizer, LeakSanitizer and UBSan over every test but e2e, bench and long
#   tsan   ThreadSanitizer over every test that links no gRPC (Debian's gRPC and Abseil are not instrumented)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=${1:-}
case "$kind" in
  asan | tsan) shift ;;
  *) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
bash deploy/setup.sh
if [ ! -f "build-$kind/build.ninja" ]; then cmake --preset "$kind"; fi
echo "sanitize: building with $kind"
targets=(atelier_tests)
# Some tests start these.
if [ "$kind" = asan ]; then targets+=(atelier atelier-convert); fi
cmake --build "build-$kind" --parallel "$(nproc)" --target "${targets[@]}"

# Debian's libraries hand over containers that were not annotated: no container-overflow reports.
export ASAN_OPTIONS="detect_container_overflow=0:strict_string_checks=1:detect_stack_use_after_return=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$PWD/tests/sanitizers/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
export TSAN_OPTIONS="suppressions=$PWD/tests/sanitizers/tsan.supp:halt_on_error=1:second_deadlock_stack=1"
# libgomp's barriers are invisible to ThreadSanitizer.
if [ "$kind" = tsan ]; then export OMP_NUM_THREADS=1; fi
ctest --test-dir "build-$kind" --output-on-failure --no-tests=error -LE '^(e2e|bench|long)$' --timeout 900 "$@"
echo "sanitize: $kind is clean"
