# shellcheck shell=bash
# What every part of manage.sh needs: messages, settings from .env, HTTP, ports, the lock. Knows no service.

ME=$(printf '%q' "$ROOT/scripts/manage.sh") # as it can be copied into a terminal
RUN="$ROOT/.run" # pid files, logs, the lock: git-ignored
VENV="$ROOT/.venv"
export EMBEDSERVE_ROOT="$ROOT"
# .venv is installed without byte code, so what is imported has to leave some: each start would compile it all again.
unset PYTHONDONTWRITEBYTECODE

# Ctrl-C ends this script once, whatever it was doing: a service's subshell dies of it and the next does not begin.
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
warn() { printf 'manage.sh: %s\n' "$*" >&2; }

# die CODE MESSAGE [WHAT TO DO]...
die() {
  local code=$1 line
  shift
  warn "$1"
  shift
  for line in "$@"; do [ -n "$line" ] && printf '  %s\n' "$line" >&2; done
  exit "$code"
}

# What the user says, in the order in which every command looks (embedserve/sources.py reads the same files in the same
# way): the environment, .env of this repository, then the user's own file for every checkout. Never executed.
USER_SETTINGS="${XDG_CONFIG_HOME:-$HOME/.config}/embedserve/config.env"

load_env() {
  load_file "$ROOT/.env"
  load_file "$USER_SETTINGS"
  settle_settings
}

# load_file FILE: what the environment has already wins, as in Docker Compose; of two lines the last one does. An empty
# value means unset. A relative path means one from the file's folder.
load_file() {
  local file=$1 line name value ours=' ' folder
  [ -f "$file" ] || return 0
  folder=$(dirname "$file")
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line#"$BOM"} line=${line%$'\r'}
    line=${line#"${line%%[![:space:]]*}"} line=${line%"${line##*[![:space:]]}"}
    line=${line#export }
    line=${line#"${line%%[![:space:]]*}"}
    case $line in '' | \#*) continue ;; *=*) ;; *) die 2 "$file: this line is not NAME=value: $line" ;; esac
    name=${line%%=*}
    case $name in *[!A-Za-z0-9_]* | [0-9]* | '') die 2 "$file: '$name' is not a variable's name." ;; esac
    value=$(setting_value "${line#*=}")
    case $name:$value in
      EMBEDDING_HOME:[!/~]* | QDRANT_STORAGE:[!/~]* | HF_HOME:[!/~]* | EMBEDDING_MODEL:./* | EMBEDDING_MODEL:../* | \
        EMBEDDING_RERANK_MODEL:./* | EMBEDDING_RERANK_MODEL:../*)
        value="$folder/${value#./}"
        ;;
    esac
    case $ours in
      *" $name "*) ;;
      *) eval "[ -n \"\${$name+set}\" ]" && continue ;; # eval sees a checked name only
    esac
    export "$name=$value"
    ours="$ours$name "
  done <"$file"
}

BOM=$'\357\273\277' # what Windows editors put before the first line
QUOTED='^"([^"]*)"([[:space:]]+#.*)?$'
APOSTROPHED="^'([^']*)'([[:space:]]+#.*)?\$"

setting_value() { # without its quotes, or the comment after it
  local value=$1
  value=${value#"${value%%[![:space:]]*}"}
  if [[ $value =~ $QUOTED ]] || [[ $value =~ $APOSTROPHED ]]; then
    printf '%s' "${BASH_REMATCH[1]}"
    return
  fi
  value=" $value"
  value=${value%%[[:space:]]#*}
  value=${value#"${value%%[![:space:]]*}"}
  printf '%s' "${value%"${value##*[![:space:]]}"}"
}

settle_settings() {
  # SEMAPHORE_VALUE is the name that the original service had, and the one that its compose file reads.
  local slots=${EMBEDDING_SEMAPHORE_VALUE:-${SEMAPHORE_VALUE:-}}
  if [ -n "$slots" ]; then export EMBEDDING_SEMAPHORE_VALUE="$slots" SEMAPHORE_VALUE="$slots"; fi
  # The embedded Qdrant and the container have different names for the same key.
  local key=${QDRANT_API_KEY:-${QDRANT__SERVICE__API_KEY:-}}
  if [ -n "$key" ]; then export QDRANT_API_KEY="$key" QDRANT__SERVICE__API_KEY="$key"; else unset QDRANT__SERVICE__API_KEY; fi
  # A Qdrant of ours listens where QDRANT_URL says, unless QDRANT_PORT says it.
  if [ -z "${QDRANT_PORT:-}" ]; then
    case ${QDRANT_URL:-} in
      http://localhost:* | http://127.*:*) QDRANT_PORT=${QDRANT_URL##*:} QDRANT_PORT=${QDRANT_PORT%%/*} && export QDRANT_PORT ;;
    esac
  fi
  check_port_setting EMBEDDING_PORT "${EMBEDDING_PORT:-4000}"
  check_port_setting QDRANT_PORT "${QDRANT_PORT:-6333}"
  EMBEDSERVE_START_TIMEOUT=${EMBEDSERVE_START_TIMEOUT:-900} # a first start may download a model
  case $EMBEDSERVE_START_TIMEOUT in
    *[!0-9]* | ???????*) die 2 "EMBEDSERVE_START_TIMEOUT=$EMBEDSERVE_START_TIMEOUT is not a number of seconds." ;;
  esac
}

check_port_setting() {
  case $2 in
    *[!0-9]* | '' | 0 | ??????*) die 2 "$1=$2 is not a port (1 to 65535)." ;;
  esac
}

# http_get URL: sets HTTP_CODE (000: no answer) and HTTP_BODY. Never goes through a proxy.
http_get() {
  local answer
  if command -v curl >/dev/null 2>&1; then
    answer=$(curl -s --noproxy '*' --max-time 5 -w '\n%{http_code}' "$1" 2>/dev/null)
  else
    answer=$(python3 -c '
import sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    reply = opener.open(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    reply = error
print(reply.read().decode() + "\n" + str(reply.status))' "$1" 2>/dev/null)
  fi
  HTTP_CODE=${answer##*$'\n'}
  HTTP_BODY=${answer%$'\n'*}
  case $HTTP_CODE in [1-5][0-9][0-9]) ;; *) HTTP_CODE=000 HTTP_BODY='' ;; esac
}

# json_field NAME <<<JSON: the first value under that name; enough for our own /health and /ready.
json_field() {
  grep -oE "\"$1\" *: *(\"([^\"\\\\]|\\\\.)*\"|[^,}\"]+)" | head -n 1 |
    sed -e 's/^"[^"]*" *: *//' -e 's/^"//' -e 's/"$//' -e 's/\\"/"/g' -e 's/[[:space:]]*$//'
}

port_taken() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# port_owner PORT: who listens there, in words.
port_owner() {
  local name pid=''
  if docker_answers; then
    name=$(docker ps --filter "publish=$1" --format '{{.Names}}' 2>/dev/null | head -n 1)
    [ -n "$name" ] && { printf 'the container %s' "$name"; return; }
  fi
  if command -v lsof >/dev/null 2>&1; then
    pid=$(lsof -nP -t "-iTCP:$1" -sTCP:LISTEN 2>/dev/null | head -n 1)
  fi
  if [ -z "$pid" ] && command -v ss >/dev/null 2>&1; then
    pid=$(ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*pid=\([0-9]*\).*/\1/p' | head -n 1)
  fi
  if [ -n "$pid" ]; then
    printf 'pid %s (%s)' "$pid" "$(command_of "$pid" | cut -c 1-100)"
  else
    printf 'a process that cannot be seen from this account (try: sudo lsof -i :%s)' "$1"
  fi
}

# command_of PID: its command line; empty when it is gone (or only waits to be reaped).
command_of() {
  if [ -d /proc/self ]; then
    [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null
  else
    ps -p "$1" -o command= 2>/dev/null
  fi
}

# run_visibly MESSAGE LOG COMMAND...: runs it with its output in LOG, shows that time passes and what is being
# installed, returns its status. Ctrl-C ends it and all that it started, within a second.
run_visibly() {
  local message=$1 log=$2 pid began=$SECONDS shown=0 status
  shift 2
  set -m # a process group of its own
  "$@" >>"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  trap 'end_group "$pid"; say; warn "interrupted; the next run goes on where this one stopped"; exit 130' INT TERM
  [ -t 1 ] || say "$message"
  while kill -0 "$pid" 2>/dev/null; do
    progress "$message$(package_in "$log")" $((SECONDS - began))
    sleep 0.3
  done
  wait "$pid"
  status=$?
  trap 'exit 130' INT
  trap 'exit 143' TERM
  progress_end
  return $status
}

end_group() { # end_group PID
  local _
  kill -TERM -- "-$1" 2>/dev/null
  for _ in 1 2 3 4 5; do
    kill -0 -- "-$1" 2>/dev/null || return 0
    sleep 0.2
  done
  kill -KILL -- "-$1" 2>/dev/null
}

package_in() { # what pip or uv is at, from its log
  tail -n 3 "$1" 2>/dev/null | sed -n \
    -e 's/^ *Collecting \([^ ;<>=!~[]*\).*/: \1/p' \
    -e 's/^ *Downloading \([A-Za-z0-9_.]*\)-.* (\(.*\))$/: \1, \2/p' \
    -e 's/^Downloading \([^ ]*\) (\(.*\))$/: \1, \2/p' \
    -e 's/^Prepared [0-9]* packages.*/: writing the files/p' \
    -e 's/^ *Processing .*\/\([A-Za-z0-9_.]*\)-.*\.whl$/: \1/p' \
    -e 's/^Installing collected packages.*/: writing the files/p' | tail -n 1
}

# progress MESSAGE SECONDS: one line that is rewritten on a terminal, a line every ten seconds elsewhere.
progress() {
  if [ -t 1 ]; then
    printf '\r\033[K%s ... %s s' "$1" "$2"
  elif [ "$2" -ge $((shown + 10)) ]; then
    shown=$2
    say "$1 ... $2 s"
  fi
}

progress_end() { [ ! -t 1 ] || printf '\r\033[K'; }

# One manage.sh at a time changes the state of this checkout: a hotkey pressed twice must not start two servers.
take_lock() {
  local holder said=''
  mkdir -p "$RUN" 2>/dev/null && [ -w "$RUN" ] ||
    die 1 "this folder cannot be written to: $(printf '%q' "$ROOT")" "Give yourself the rights, or clone it somewhere else."
  until mkdir "$RUN/lock" 2>/dev/null; do
    holder=$(cat "$RUN/lock/pid" 2>/dev/null)
    case $(command_of "${holder:-0}") in
      *manage.sh*)
        [ -n "$said" ] || say "waiting for another manage.sh (pid $holder) to finish"
        said=1
        ;;
      *)
        # A holder that has not written its pid yet gets a moment before the lock counts as stale.
        sleep 0.2
        [ "$(cat "$RUN/lock/pid" 2>/dev/null)" = "$holder" ] && rm -rf "$RUN/lock"
        ;;
    esac
    sleep 0.3
  done
  echo $$ >"$RUN/lock/pid"
  trap 'rm -rf "$RUN/lock"' EXIT
}
