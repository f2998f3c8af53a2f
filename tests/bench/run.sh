#!/usr/bin/env bash
# Measures Atelier beside what a user would take instead, in one interleaved run on this machine.
# Usage: bash tests/bench/run.sh [--out DIR] [--pictures DIR] [--rounds N] [--no-build] [--list] [NAME…]
#   bash tests/bench/run.sh                          everything; about 25 minutes on two cores, with the peers there
#   bash tests/bench/run.sh --out numbers pipeline   one benchmark; numbers/bench.json and bench.md
# The peers come from PyPI (requirements.txt) into ${XDG_CACHE_HOME:-~/.cache}/atelier/bench-venv, once: 6 GB, because
# PyPI's torch is the CUDA build. Nothing else should run meanwhile.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
# What one machine's owner set for it must not decide for the engines.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

build=yes
arguments=()
for argument in "$@"; do
  case "$argument" in
    --no-build | --list) build=no ;;
  esac
  [ "$argument" = --no-build ] || arguments+=("$argument")
done
if [ "$build" = yes ]; then bash "$root/deploy/setup.sh"; fi

venv="${XDG_CACHE_HOME:-$HOME/.cache}/atelier/bench-venv"
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
  echo "bench: installing the peers from PyPI into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" -q install -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/installed.txt"
fi

if [ "$build" = yes ]; then
  if [ ! -f "$root/build/build.ninja" ]; then (cd "$root" && cmake --preset release); fi
  cmake --build "$root/build" --parallel "$(nproc)" --target atelier_benches atelier atelier-aggregator \
    atelier-coordinator atelier-data
fi
exec "$venv/bin/python" "$here/bench.py" "${arguments[@]}"
