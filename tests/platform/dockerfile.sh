#!/usr/bin/env bash
# Builds deploy/Dockerfile as the README's compose command does, and runs what is in the image.
# Usage: bash tests/platform/dockerfile.sh
# *_proxy of the environment are handed in. Ends with 77 (skipped) where no Docker daemon answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

docker info >/dev/null 2>&1 || { echo "dockerfile: SKIPPED: no Docker daemon answers"; exit 77; }
bash deploy/base-image.sh

image="atelier-dockerfile-test:$$"
trap 'docker rmi -f "$image" >/dev/null 2>&1' EXIT
options=()
while IFS='=' read -r name _; do
  case "$name" in *_proxy | *_PROXY) options+=(--build-arg "$name") ;; esac
done < <(env)
started=$SECONDS
docker build "${options[@]}" -f deploy/Dockerfile -t "$image" .
echo "dockerfile: built in $((SECONDS - started)) s"

# Confined as in docker-compose.yaml, so that nothing passes here that fails there.
inside() {
  docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp "$image" "$@"
}
inside atelier version
for binary in atelier-convert atelier-health atelier-coordinator atelier-data atelier-trainer atelier-aggregator; do
  inside "$binary" --help >/dev/null || { echo "dockerfile: $binary does not run" >&2; exit 1; }
done
[ "$(inside id -u)" = 10001 ] || { echo "dockerfile: not user 10001: $(inside id)" >&2; exit 1; }
[[ "$(inside)" == *"atelier train"* ]] || { echo "dockerfile: without a command atelier's help was expected" >&2; exit 1; }
echo "dockerfile: the image's binaries run"
