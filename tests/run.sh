#!/usr/bin/env bash
# Sets the machine up, builds everything and runs the tests: all labels but bench and long.
# Usage: bash tests/run.sh [ctest arguments]
#   bash tests/run.sh              everything that must pass
#   bash tests/run.sh -L fast      one label
#   bash tests/run.sh -LE 'bench|long|e2e'  all but these, instead of all but bench and long
#   bash tests/run.sh -R Philox    by name
#   bash tests/run.sh -L long      what takes hours
#   bash tests/run.sh -N           set-up and full build, then only list the tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The test with containers needs docker-compose, where a daemon answers.
if docker info >/dev/null 2>&1; then bash deploy/setup.sh --containers; else bash deploy/setup.sh; fi
started=$SECONDS
if [ ! -f build/build.ninja ]; then cmake --preset release; fi
echo "run: building"
cmake --build build --parallel "$(nproc)"
echo "run: built in $((SECONDS - started)) s"

# Two tests at a time: most wait half of their time. Those that use all cores, or bound how long an answer
# takes, say so (PROCESSORS, RUN_SERIAL). libgomp's threads must not spin for that.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"
arguments=(--test-dir build --parallel 2 --output-on-failure --no-tests=error)
case " $* " in
  *" -L "* | *" -LE "* | *" --label-regex "* | *" --label-exclude "*) ;;
  *) arguments+=(-LE '^(bench|long)$') ;;
esac
started=$SECONDS
ctest "${arguments[@]}" "$@"
echo "run: tests took $((SECONDS - started)) s"
