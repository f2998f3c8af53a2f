#!/usr/bin/env bash
# Runs a Python script with PyPI's tritonclient, from a virtual environment that the first call makes.
# Usage: bash tests/integration/with_tritonclient.sh VENV SCRIPT [ARGUMENT…]
# Ends with 77 (skipped) where the packages cannot be fetched.
set -euo pipefail
wanted="$(dirname "${BASH_SOURCE[0]}")/tritonclient.txt"
venv=${1:?a folder for the virtual environment}
shift

mkdir -p "$venv"
exec 9>"$venv/lock"
flock 9  # two tests may run side by side
if ! cmp -s "$wanted" "$venv/installed.txt"; then
  python3 -m venv --clear "$venv/python"
  if ! "$venv/python/bin/pip" -q --disable-pip-version-check --retries 1 --timeout 15 install -r "$wanted" 2>"$venv/pip.log"; then
    tail -n 3 "$venv/pip.log"
    echo "SKIPPED: pip could not fetch tritonclient from PyPI (its last words are above)"
    exit 77
  fi
  cp "$wanted" "$venv/installed.txt"
fi
flock -u 9
exec "$venv/python/bin/python" "$@"
