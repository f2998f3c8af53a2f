#!/usr/bin/env bash
# Formats our sources with the pinned clang-format (PyPI: Debian's 14 and 19 disagree).
# Usage: bash tests/format.sh [--check]     --check changes nothing and fails on a difference
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=19.1.7
venv="${XDG_CACHE_HOME:-$HOME/.cache}/atelier/clang-format-$version"
if [ ! -x "$venv/bin/clang-format" ]; then
  echo "format: installing clang-format $version from PyPI into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" -q install "clang-format==$version"
fi
mapfile -d '' files < <(git ls-files -z '*.cc' '*.h')
if [ "${1:-}" = --check ]; then
  "$venv/bin/clang-format" --dry-run --Werror "${files[@]}"
  echo "format: ${#files[@]} files are formatted"
else
  "$venv/bin/clang-format" -i "${files[@]}"
  echo "format: formatted ${#files[@]} files"
fi
