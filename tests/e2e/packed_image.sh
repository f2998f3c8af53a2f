#!/usr/bin/env bash
# Makes the image of the tests with containers: the runtime stage of deploy/Dockerfile, with binaries
# that were built on this machine. The packages are installed into a folder, not into a layer: daemons
# that keep their layers in fuse-overlayfs take four times as long (150 s instead of 40).
# Usage: bash tests/e2e/packed_image.sh IMAGE BIN_FOLDER bookworm|trixie
# The suite is this machine's, whose libraries the binaries need; starts from its base image (deploy/base-image.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

image=${1:?the image to make}
bin=${2:?the folder with the binaries}
suite=${3:?bookworm or trixie}
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
work=$(mktemp -d)
root="$work/root"
clean_up() {
  if mountpoint -q "$root/proc"; then "${sudo[@]}" umount "$root/proc"; fi
  "${sudo[@]}" rm -rf --one-file-system "$work"
}
trap clean_up EXIT

mkdir "$root"
container=$(docker create "atelier-debian:$suite")
docker export "$container" | "${sudo[@]}" tar -C "$root" -x
docker rm "$container" >/dev/null
"${sudo[@]}" mount -t proc proc "$root/proc"
"${sudo[@]}" cp /etc/resolv.conf "$root/etc/resolv.conf"
"${sudo[@]}" cp deploy/runtime-packages.sh "$root/tmp"
"${sudo[@]}" chroot "$root" bash -e -c '
  bash /tmp/runtime-packages.sh
  rm /tmp/runtime-packages.sh
  useradd --system --uid 10001 --create-home --home-dir /var/lib/atelier atelier
  mkdir -p /var/lib/atelier/state
  chown -R atelier:atelier /var/lib/atelier'
"${sudo[@]}" umount "$root/proc"
for binary in atelier atelier-health atelier-coordinator atelier-data atelier-trainer atelier-aggregator; do
  "${sudo[@]}" strip -o "$root/usr/local/bin/$binary" "$bin/$binary"
done
"${sudo[@]}" tar -C "$root" -c . | docker import --change 'ENV ATELIER_HOME=/var/lib/atelier' \
  --change 'USER atelier' --change 'WORKDIR /var/lib/atelier' --change 'CMD ["atelier", "--help"]' - "$image"
