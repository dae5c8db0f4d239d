#!/usr/bin/env bash
# One command for everything a user does with the two services:
#
#   jina     the embedding server (embedserve serve), port 4000
#   qdrant   the vector database, port 6333
#
# Each runs either in Docker or natively (a process of its own from .venv). This file reads the command line;
# lib/services.sh says what start, stop and status mean for any service, lib/docker.sh and lib/native.sh do it in
# one runtime, lib/install.sh makes .venv, lib/common.sh holds settings, HTTP, ports and the lock.
#
# Works with bash 3.2 (macOS), from any directory, through symlinks, with spaces in the path.
set -u

self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do # readlink -f is not on every macOS
  target=$(readlink "$self")
  case $target in /*) self=$target ;; *) self=$(dirname "$self")/$target ;; esac
done
ROOT=$(cd "$(dirname "$self")/.." && pwd -P) || exit 1

# shellcheck source=scripts/lib/common.sh
. "$ROOT/scripts/lib/common.sh"
# shellcheck source=scripts/lib/install.sh
. "$ROOT/scripts/lib/install.sh"
# shellcheck source=scripts/lib/native.sh
. "$ROOT/scripts/lib/native.sh"
# shellcheck source=scripts/lib/docker.sh
. "$ROOT/scripts/lib/docker.sh"
# shellcheck source=scripts/lib/services.sh
. "$ROOT/scripts/lib/services.sh"

usage() {
  cat <<'EOF'
usage: scripts/manage.sh COMMAND [all|jina|qdrant] [--docker|--native]

  start     start, wait until ready, show one real embedding    (all, unless a service is named)
  stop      let the requests in work finish, then stop
  restart   stop and start, in the runtime it ran in
  status    running, healthy, model, dimension, memory, uptime
  logs      the last 100 lines; with -f: follow
  warmup    send one real request and show the answer

  test      run the tests (further words go to pytest)
  check     ruff, mypy, shellcheck
  bench     drive the server as an indexing client does, and measure it
  doctor    check models, memory, ports and Qdrant
  vscode    install | uninstall | show   the tasks and hotkeys of VS Code (--dry-run, --yes)
  help      this text

  jina is the embedding server (port 4000), qdrant the vector database (port 6333).
  Runtime: Docker when an engine answers, else native; --docker and --native decide, and so does
  EMBEDSERVE_RUNTIME=docker or native in .env. Settings: .env in the repository, see .env.example.

exit codes: 0 done   1 failed   2 wrong usage   3 not running (status)   4 something must be installed
            5 a port is taken   6 not ready in time   130 interrupted
EOF
}

main() {
  local command=${1:-help}
  [ $# -gt 0 ] && shift
  load_env
  case $command in
    start | stop | restart | status | logs | warmup) service_command "$command" "$@" ;;
    test | check | bench | doctor) "tool_$command" "$@" ;;
    vscode) run_vscode "$@" ;;
    help | --help | -h) usage ;;
    *) die 2 "unknown command '$command'." "See: $ME help" ;;
  esac
}

service_command() {
  local command=$1 word services='' runtime='' follow=''
  shift
  for word in "$@"; do
    case $word in
      all) services="$services jina qdrant" ;;
      jina | qdrant) services="$services $word" ;;
      --docker | --native)
        if [ -n "$runtime" ] && [ "$runtime" != "${word#--}" ]; then die 2 "--docker and --native exclude each other."; fi
        runtime=${word#--}
        ;;
      -f | --follow)
        [ "$command" = logs ] || die 2 "'$word' belongs to logs, not to $command."
        follow=1
        ;;
      *) die 2 "unknown word '$word' after $command." "Services: all, jina, qdrant. See: $ME help" ;;
    esac
  done
  "do_$command" "${services:-jina qdrant}" "$runtime" "$follow"
}

run_vscode() {
  local python
  python=$(find_python 3 8) || die 4 "Python 3.8 or newer is needed to edit VS Code's files, and none was found." "$(python_hint)"
  # Windows' VS Code runs the tasks through this very bash (Git Bash).
  case $(uname -s) in MINGW* | MSYS*) MANAGE_BASH=$(cygpath -w "$BASH") && export MANAGE_BASH ;; esac
  exec "$python" "$ROOT/scripts/vscode_merge.py" "$@"
}

tool_test() {
  ensure_venv dev || exit $?
  cd "$ROOT" || exit 1
  exec "$VENV/bin/python" -m pytest "$@"
}

tool_check() {
  local failed=''
  ensure_venv dev || exit $?
  cd "$ROOT" || exit 1
  say "ruff check" && "$VENV/bin/ruff" check || failed="$failed ruff-check"
  say "ruff format" && "$VENV/bin/ruff" format --check || failed="$failed ruff-format"
  say "mypy" && "$VENV/bin/mypy" || failed="$failed mypy"
  say "shellcheck" && "$VENV/bin/shellcheck" -x scripts/manage.sh .ci/run || failed="$failed shellcheck"
  [ -z "$failed" ] || die 1 "failed:$failed"
  say "all checks passed"
}

tool_bench() {
  ensure_venv user || exit $?
  exec "$VENV/bin/embedserve" bench "$@"
}

tool_doctor() {
  ensure_venv user || exit $?
  exec "$VENV/bin/embedserve" doctor "$@"
}

main "$@"
