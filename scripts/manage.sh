#!/usr/bin/env bash
# shellcheck disable=SC2128  # `sh scripts/manage.sh` gets the bash that this needs
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
# One command for everything a user does with the two services:
#
#   jina     the embedding server (embedserve serve), port 4000
#   qdrant   the vector database, port 6333
#
# Each runs either in Docker or natively (a process of its own from .venv). This file reads the command line;
# lib/services.sh says what start and stop mean for any service, lib/looking.sh what status, logs and warmup show of it,
# lib/docker.sh and lib/native.sh do it in one runtime, lib/commands.sh runs embedserve's other commands there,
# lib/install.sh makes .venv, lib/lifecycle.sh upgrades and removes, lib/common.sh holds settings, HTTP, ports and the lock.
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
# shellcheck source=scripts/lib/looking.sh
. "$ROOT/scripts/lib/looking.sh"
# shellcheck source=scripts/lib/commands.sh
. "$ROOT/scripts/lib/commands.sh"
# shellcheck source=scripts/lib/lifecycle.sh
. "$ROOT/scripts/lib/lifecycle.sh"

usage() {
  cat <<'EOF'
usage: scripts/manage.sh COMMAND [all|jina|qdrant] [--docker|--native]

  start     start, wait until ready, show one real embedding    (all, unless a service is named)
  stop      let the requests in work finish, then stop; asks while an index runs (--yes: without asking)
  restart   stop and start, in the runtime it ran in
  status    running, healthy, model, dimension, memory, uptime
  logs      the last 100 lines; with -f: follow
  warmup    send one real request and show the answer

  index     make the index of a folder equal to the folder     (further words go to embedserve; so below)
  search    find indexed code by meaning
  mcp       serve code search to agents, over stdio
  collections  create | list | copy   one index of many repositories, for a team
  agent     install | uninstall | status   code search in Claude Code, Codex, Cursor and other agents
  doctor    check models, memory, ports and Qdrant
  models    what is known and what is on disk; pull: fetch one; optimize: make it int8
  settings  what is set, and where each value comes from
  bench     drive the server as an indexing client does, and measure it

  upgrade   get the newest version, install what changed, restart what runs
  uninstall list all that was ever made, with sizes, ask, and remove it   (--yes, --keep-data)
  vscode    install | uninstall | show   the tasks and hotkeys of VS Code (--dry-run, --yes, --keys alt)
  test      run the tests (further words go to pytest)
  check     ruff, mypy, shellcheck
  help      this text; after another command: --help

  jina is the embedding server (port 4000), qdrant the vector database (port 6333).
  Runtime: the one it ran in last; at first Docker when an engine answers, else native; --docker and --native
  switch, and so does EMBEDSERVE_RUNTIME in .env. Settings: .env in the repository, see .env.example.

exit codes: 0 done   1 failed   2 wrong usage   3 not running (status)   4 something must be installed
            5 a port is taken   6 not ready in time   130 interrupted
EOF
}

has_word() { # has_word WORD WORDS...
  local wanted=$1 word
  shift
  for word in "$@"; do [ "$word" = "$wanted" ] && return 0; done
  return 1
}

main() {
  local command=${1:-help}
  [ $# -gt 0 ] && shift
  case $command in
    help | --help | -h) usage && return ;;
    start | stop | restart | status | logs | warmup | check | upgrade | uninstall | settings)
      if has_word --help "$@" || has_word -h "$@"; then usage && return; fi
      ;;
  esac
  load_env
  case $command in
    start | stop | restart | status | logs | warmup) service_command "$command" "$@" ;;
    index | search | mcp | collections | models | pull | optimize | doctor | bench) embedserve_command "$command" "$@" ;;
    agent) run_agent "$@" ;;
    test | check) "tool_$command" "$@" ;;
    settings) do_settings "$@" ;;
    upgrade) do_upgrade "$@" ;;
    uninstall) do_uninstall "$@" ;;
    vscode) run_vscode "$@" ;;
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
      --yes)
        case $command in stop | restart) ;; *) die 2 "'$word' belongs to stop and restart, not to $command." ;; esac
        STOP_YES=1
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

# An agent starts our search as a program of this machine, wherever the services run.
run_agent() {
  ensure_venv user || exit $?
  exec "$VENV/bin/embedserve" agent "$@"
}

tool_test() {
  ensure_venv dev || exit $?
  cd "$ROOT" || exit 1
  # What is named runs in one process, where print and --pdb do what one expects; all of it, on several workers. Some tests
  # ask for a machine that does nothing else: what failed there runs once more, alone, and that counts.
  [ $# -eq 0 ] || exec "$VENV/bin/python" -m pytest "$@"
  "$VENV/bin/python" -m pytest -n auto --maxfail 50 # so many are not the machine's load
  local code=$?
  [ "$code" -eq 1 ] || exit "$code"
  say "what failed beside other tests runs once more, alone:"
  exec "$VENV/bin/python" -m pytest --last-failed --last-failed-no-failures none
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

main "$@"
