#!/usr/bin/env bash
# Builds against PyPI's LibTorch instead of Debian's, and runs the fast tests.
# Usage: bash tests/platform/newer_libtorch.sh [VERSION]      default: the newest
# The wheel and its CUDA libraries are kept in build-torch/venv (5 GB). A machine without a GPU
# compiles and links the CUDA path, and runs on its processor.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bash deploy/setup.sh
build=build-torch
if [ ! -d "$build/venv" ] || [ $# -gt 0 ]; then
  mkdir -p "$build"
  python3 -m venv "$build/venv"
  echo "newer_libtorch: fetching torch ${1:-(newest)} from PyPI"
  "$build/venv/bin/pip" install -q "torch${1:+==$1}"
fi
torch=$(echo "$PWD/$build"/venv/lib/python3*/site-packages/torch)
version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch/version.py")
echo "newer_libtorch: building against LibTorch $version"
cmake --preset release -B "$build" -DCMAKE_PREFIX_PATH="$torch" >/dev/null
cmake --build "$build" --parallel "$(nproc)"
linked=$(ldd "$build/bin/atelier" | grep libtorch_)
case "$linked" in
  *"$torch"*) echo "newer_libtorch:$linked" ;;
  *) echo "newer_libtorch: not linked with the wheel:$linked" >&2; exit 1 ;;
esac
ctest --test-dir "$build" --output-on-failure --no-tests=error -L '^fast$'
echo "newer_libtorch: LibTorch $version builds and passes the fast tests"
