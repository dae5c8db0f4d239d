#!/usr/bin/env bash
# What a newcomer waits for and pays, timed and weighed, of one or several versions of this repository:
#
#   scripts/bench/first_hour.sh [GIT-REF]...     default: HEAD; IMAGE=python:3.11-slim-bookworm
#
# Natively: the README's first steps on a bare machine (a container with Python and nothing of ours). One row a step:
# seconds, CPU seconds (the services' own left out), and what it added to the disk in MB. Docker: the image from nothing (without the base, which is there), and
# a container of it until its first embedding. Downloads count: run it on a network like the reader's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT-0}
base=${IMAGE:-python:3.11-slim-bookworm}

# shellcheck disable=SC2016  # the container's shell expands it
inside='
set -u
mkdir -p /root/embedserve && tar -x -C /root/embedserve && cd /root/embedserve
export EMBEDSERVE_RUNTIME=native TORCH_INDEX=${TORCH_INDEX-} EMBEDDING_MODEL=all-MiniLM-L6-v2 HF_HUB_OFFLINE=1 USER=root
size() { du -smx / 2>/dev/null | cut -f1; }
row() { printf "| %s | %s | %s | %s |\n" "$1" "$2" "$3" "$4"; }
step() {
  local name=$1 before took TIMEFORMAT="%1R | %1U"
  shift
  before=$(size)
  if ! took=$({ time "$@" >/tmp/step.log 2>&1; } 2>&1); then tail -n 20 /tmp/step.log >&2; row "$name" failed - -; return; fi
  row "$name" "${took% | *}" "${took#* | }" "$(($(size) - before))"
}
step "scripts/manage.sh start (first embedding)" scripts/manage.sh start
step "embedserve index scripts" .venv/bin/embedserve index scripts
step "embedserve search" bash -c "cd scripts && ../.venv/bin/embedserve search \"how is a port chosen?\""
step "scripts/manage.sh stop" scripts/manage.sh stop
step "scripts/manage.sh start, again" scripts/manage.sh start
scripts/manage.sh stop >/dev/null 2>&1
row "all of .venv" - - "$(du -sm .venv | cut -f1)"
'

natively() { git archive "$1" | docker run --rm -i -e TORCH_INDEX="${TORCH_INDEX-}" "$base" bash -c "$inside"; }

bytes_of() { docker image inspect -f '{{.Size}}' "$1"; }

in_docker() {
  local tag="embedserve:first-hour-$$" name="first-hour-$$" folder began
  folder=$(mktemp -d)
  git archive "$1" | tar -x -C "$folder"
  began=$SECONDS
  if ! docker build -q --no-cache --build-arg TORCH_INDEX= -f "$folder/embeddings/Dockerfile" -t "$tag" "$folder" >/dev/null; then
    echo "| docker build | failed | - | - |"
    rm -rf "$folder"
    return
  fi
  echo "| docker build | $((SECONDS - began)) | - | $((($(bytes_of "$tag") - $(bytes_of "$base")) / 1000000)) |"
  began=$SECONDS
  docker run -d --name "$name" -e EMBEDDING_MODEL=all-MiniLM-L6-v2 -e HF_HUB_OFFLINE=1 "$tag" >/dev/null
  until docker exec "$name" embedserve warmup >/dev/null 2>&1; do
    if [ "$(docker inspect -f '{{.State.Running}}' "$name")" != true ]; then break; fi
    sleep 0.5
  done
  echo "| docker run (first embedding) | $((SECONDS - began)) | - | - |"
  docker rm -f -v "$name" >/dev/null
  docker image rm "$tag" >/dev/null
  rm -rf "$folder"
}

for ref in "${@:-HEAD}"; do
  printf '\n%s\n\n| step | seconds | CPU seconds | MB added |\n|---|---|---|---|\n' "$(git log -1 --format='%h %ad %s' --date=short "$ref")"
  natively "$ref"
  in_docker "$ref"
done
