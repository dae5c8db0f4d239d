#!/usr/bin/env bash
# The README's first steps on a bare machine (a container with Python and nothing of ours), timed and weighed.
#
#   scripts/bench/first_hour.sh [GIT-REF]        default: HEAD; IMAGE=python:3.11-slim
#
# Prints one row a step: what, seconds, what it added to the disk (.venv and the user's caches), in MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
ref=${1:-HEAD}

# shellcheck disable=SC2016  # the container's shell expands it
inside='
set -u
mkdir -p /root/embedserve && tar -x -C /root/embedserve && cd /root/embedserve
export EMBEDSERVE_RUNTIME=native TORCH_INDEX=${TORCH_INDEX-} EMBEDDING_MODEL=all-MiniLM-L6-v2 HF_HUB_OFFLINE=1 USER=root
size() { du -smx / 2>/dev/null | cut -f1; }
row() { printf "| %s | %s | %s |\n" "$1" "$2" "$3"; }
step() {
  local name=$1 before began ended
  shift
  before=$(size) began=$(date +%s.%N)
  if ! "$@" >/tmp/step.log 2>&1; then tail -n 20 /tmp/step.log >&2; row "$name" failed -; return; fi
  ended=$(date +%s.%N)
  row "$name" "$(awk -v a="$began" -v b="$ended" "BEGIN {printf \"%.1f\", b - a}")" "$(($(size) - before))"
}
row step seconds "MB added"
row --- --- ---
step "scripts/manage.sh start (first embedding)" scripts/manage.sh start
step "embedserve index ." .venv/bin/embedserve index .
step "embedserve search" .venv/bin/embedserve search "where is the request body read under a deadline?"
step "scripts/manage.sh stop" scripts/manage.sh stop
step "scripts/manage.sh start, again" scripts/manage.sh start
scripts/manage.sh stop >/dev/null 2>&1
row "all of .venv" - "$(du -sm .venv | cut -f1)"
'
git archive "$ref" | docker run --rm -i -e TORCH_INDEX="${TORCH_INDEX-}" "${IMAGE:-python:3.11-slim}" bash -c "$inside"
