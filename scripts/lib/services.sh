# shellcheck shell=bash
# start, stop and restart, whatever the service and the runtime. RUNTIME_verb SERVICE does the work (lib/native.sh,
# lib/docker.sh).

port_of() { case $1 in jina) echo "${EMBEDDING_PORT:-4000}" ;; qdrant) echo "${QDRANT_PORT:-6333}" ;; esac; }

address_of() { # where we reach it: a server on every address answers on loopback
  local host=127.0.0.1
  if [ "$1" = jina ]; then host=${EMBEDDING_HOST:-127.0.0.1}; fi
  case $host in 0.0.0.0 | '::' | localhost) host=127.0.0.1 ;; esac
  echo "$host"
}

url_of() { echo "http://$(address_of "$1"):$(port_of "$1")"; }
ready_path() { case $1 in jina) echo /ready ;; qdrant) echo /readyz ;; esac; }

# where_runs SERVICE: native, docker or nothing.
where_runs() {
  if native_pid "$1" >/dev/null; then echo native; elif docker_running "$1"; then echo docker; fi
}

# choose_runtime WANTED: what was asked for; else where this clone ran last. Docker Desktop that happens to be open must
# not take a native clone's models, cache and index from it.
choose_runtime() {
  local wanted=${1:-${EMBEDSERVE_RUNTIME:-auto}} last
  last=$(last_runtime)
  case $wanted in
    docker | native) echo "$wanted" ;;
    auto)
      if [ -n "$last" ]; then
        echo "$last"
      elif docker_answers; then
        echo docker
      else
        echo native
      fi
      ;;
    *) die 2 "EMBEDSERVE_RUNTIME=$wanted is not auto, docker or native." ;;
  esac
}

last_runtime() {
  local last
  last=$(cat "$RUN/runtime" 2>/dev/null)
  case $last in
    docker | native) echo "$last" ;;
    *) if [ -f "$VENV/.stamp-user" ] && [ -f "$RUN/jina.log" ]; then echo native; fi ;; # ran before this was remembered
  esac
}

# say_switch RUNTIME: what goes along and what does not, when the runtime is another than last time.
say_switch() {
  local last
  last=$(last_runtime)
  if [ -z "$last" ] || [ "$last" = "$1" ]; then return; fi
  say "NOTE: this clone ran ${last}ly last; now it runs in ${1}." | sed -e 's/dockerly/in Docker/' -e 's/natively/natively/' \
    -e 's/runs in native/runs natively/' -e 's/in docker\./in Docker./'
  say "  Models, the embedding cache and the index do not move: natively they are in $(home_folder)" \
    && say "  and $(storage_folder); in Docker in the volumes embedserve-models, embedserve-cache and embedserve-qdrant." \
    && say "  Run '$ME index' once more (or index again in the extension). Back: $ME start --$last"
}

home_folder() { expanded "${EMBEDDING_HOME:-$HOME/.cache/embedserve}"; }
storage_folder() { expanded "${QDRANT_STORAGE:-$HOME/.local/share/embedserve/qdrant}"; }
expanded() { case $1 in '~/'*) echo "$HOME/${1#??}" ;; *) echo "$1" ;; esac; } # in .env no shell has done it

# each SERVICES FUNCTION ARGUMENTS...: every service in turn, each in a subshell so that one's failure does not keep
# the other from its turn; returns the last failure. Ctrl-C ends them all.
each() {
  local services=$1 function=$2 service status=0 one
  shift 2
  for service in $services; do
    one=0
    ("$function" "$service" "$@") || one=$?
    case $one in
      0) ;;
      130 | 143) exit $one ;;
      *) status=$one ;;
    esac
  done
  return $status
}

# The runtime is made once, before the services: what fails there fails once.
prepare() { # prepare SERVICES WANTED
  local service runtime=''
  for service in $1; do
    if [ -z "$(where_runs "$service")" ]; then runtime=$(choose_runtime "$2") || exit $?; fi
  done
  [ -n "$runtime" ] || return 0
  say_switch "$runtime"
  if [ "$runtime" = native ]; then
    supported_here
    ensure_venv user || exit $?
  else
    docker_needed
  fi
}

# What runs is this checkout's code: a cheap sum of it is kept at each start.
code_stamp() { (cd "$ROOT" && find embeddings pyproject.toml constraints.txt -type f ! -name '*.pyc' -exec cksum {} + | sort | cksum); }
settings_stamp() { env | grep -E '^(EMBEDDING_|QDRANT_|SEMAPHORE_VALUE|HF_)' | sort | cksum; }

remember() { # remember SERVICE RUNTIME
  mkdir -p "$RUN"
  echo "$2" >"$RUN/runtime"
  code_stamp >"$RUN/$1.code"
  settings_stamp >"$RUN/$1.settings"
  url_of "$1" >"$RUN/$1.url"
}

# Where it listens, when that is not where every command looks by now (a port was changed in .env); else nothing.
listens_elsewhere() {
  local url
  url=$(cat "$RUN/$1.url" 2>/dev/null)
  if [ -n "$url" ] && [ "$url" != "$(url_of "$1")" ]; then echo "$url"; fi
}

changed_since_start() { # changed_since_start SERVICE code|settings
  [ -f "$RUN/$1.$2" ] && [ "$(cat "$RUN/$1.$2")" != "$("$2_stamp")" ]
}

do_start() {
  take_lock
  prepare "$1" "$2"
  # The database first: what one sees last is the warm embedding.
  case $1 in *jina*qdrant*) each "qdrant jina" start_one "$2" ;; *) each "$1" start_one "$2" ;; esac
}

start_one() {
  local service=$1 wanted=$2 where runtime
  where=$(where_runs "$service")
  if [ -n "$where" ]; then
    if [ -n "$wanted" ] && [ "$wanted" != "$where" ]; then
      die 1 "$service runs already, in the other runtime ($("${where}_label" "$service"))." "Stop it first: $ME stop $service"
    fi
    if changed_since_start "$service" code; then
      say "$service runs the code of before an update: restarting it"
      restart_one "$service" "$where"
      return
    fi
    if [ -n "$(listens_elsewhere "$service")" ]; then
      say "$service listens on $(listens_elsewhere "$service"), and the settings say $(url_of "$service") now: restarting it there"
      port_needed "$service"
      restart_one "$service" "$where"
      return
    fi
    say "$service is already running ($("${where}_label" "$service")) on $(url_of "$service")"
    if changed_since_start "$service" settings; then
      say "  its settings have changed since it was started. They take effect with: $ME restart $service"
    fi
    wait_ready "$service" "$where"
    return
  fi
  if ours_elsewhere "$service"; then return; fi
  port_needed "$service"
  runtime=$(choose_runtime "$wanted") || exit $?
  # Interrupted, what was not ready yet does not stay behind half started.
  trap 'warn "interrupted: $service was not ready yet and is stopped"; "${runtime}_abandon" "$service"; exit 130' INT TERM
  "${runtime}_start" "$service"
  remember "$service" "$runtime"
  wait_ready "$service" "$runtime"
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say "$service is ready ($("${runtime}_label" "$service")) on $(url_of "$service")"
  show_notice "$service"
  if [ "$service" = jina ]; then
    say "status page: $(url_of jina)/"
    warmup_one jina
  fi
}

# A QDRANT_URL on another machine: the clients use that one, and starting ours would only confuse.
ours_elsewhere() {
  [ "$1" = qdrant ] && [ -n "${QDRANT_URL:-}" ] || return 1
  case $QDRANT_URL in http://localhost* | http://127.* | 'http://[::1]'*) return 1 ;; esac
  say "qdrant: not started, as QDRANT_URL names another one ($QDRANT_URL)"
}

port_needed() { # port_needed SERVICE
  port_taken "$(address_of "$1")" "$(port_of "$1")" || return 0
  die 5 "$1 cannot start: port $(port_of "$1") is taken by $(port_owner "$(port_of "$1")")." \
    "Stop that, or choose another port: $(port_variable "$1")=... in $ROOT/.env" \
    "$([ "$1" != qdrant ] || say "If it is a Qdrant that you want to go on using, leave ours out: $ME start jina")"
}

port_variable() { case $1 in jina) echo EMBEDDING_PORT ;; qdrant) echo QDRANT_PORT ;; esac; }

wait_ready() { # wait_ready SERVICE RUNTIME
  local service=$1 runtime=$2 began=$SECONDS shown=0 look why
  # Each look is a job of its own, and nothing here is a "$( )": bash 5.2 parses its text once more when it expands it,
  # and a trap that runs inside that parser is lost with its signal. `wait` gives way to a trap at once.
  while :; do
    look_once "$service" "$runtime" >"$RUN/$service.look" &
    look=0
    wait $! || look=$?
    if [ "$look" = 0 ]; then break; fi
    if [ "$look" = 1 ]; then
      progress_end
      if [ "$runtime" = native ] && install_what_is_missing "$service"; then
        native_start "$service"
        began=$SECONDS
        continue
      fi
      show_last_lines "$service" "$runtime"
      "${runtime}_forget" "$service"
      die 1 "$service ended while starting." "The reason is in the lines above. All of them: $ME logs $service"
    fi
    if [ $((SECONDS - began)) -ge "$EMBEDSERVE_START_TIMEOUT" ]; then
      progress_end
      show_last_lines "$service" "$runtime"
      die 6 "$service is not ready after $EMBEDSERVE_START_TIMEOUT s; it was left running." \
        "Follow it: $ME logs -f $service    Stop it: $ME stop $service    Longer: EMBEDSERVE_START_TIMEOUT=3600"
    fi
    why=''
    IFS= read -r why <"$RUN/$service.look" || :
    progress "waiting for $service${why:+ ($why)}" $((SECONDS - began))
  done
  rm -f "$RUN/$service.look"
  progress_end
}

# look_once SERVICE RUNTIME: 0 ready, 1 it has ended, 2 not yet (a third of a second later; prints why).
look_once() {
  http_get "$(url_of "$1")$(ready_path "$1")"
  [ "$HTTP_CODE" = 200 ] && return 0
  "${2}_failed" "$1" && return 1
  json_field message <<<"$HTTP_BODY"
  sleep 0.3
  return 2
}

# install_what_is_missing SERVICE: true when its log asks for the extra `torch` and that is now there: weights that are
# only a pytorch_model.bin are read with it.
install_what_is_missing() {
  installed torch && return 1
  native_tail "$1" 20 | grep -q "needs the extra 'torch'" || return 1
  say "$1: this model's weights are a pytorch_model.bin, which only PyTorch reads; it is not installed yet"
  ensure_venv torch || exit $?
}

show_last_lines() {
  warn "the last lines of $1's log:"
  "${2}_tail" "$1" 20 | sed 's/^/  | /' >&2
}

show_notice() { # a fallback model is never served in silence
  local notice
  [ "$1" = jina ] || return 0
  http_get "$(url_of jina)/health"
  notice=$(json_field notice <<<"$HTTP_BODY")
  case $notice in '' | null) ;; *) say "NOTE: $notice" ;; esac
}

# An index that runs against us loses its work of the moment, and an extension may begin again from nothing: on a
# terminal it is asked about. `--yes` and scripts are not asked; what is in work finishes first in any case.
ask_before_stop() { # ask_before_stop SERVICES
  local active waiting answer
  [ -n "${STOP_YES:-}" ] || [ ! -t 0 ] || [ ! -t 1 ] && return 0
  [ -n "$(where_runs "${1##* }")" ] || return 0
  http_get "$(url_of jina)/health"
  active=$(json_field requests_active <<<"$HTTP_BODY") waiting=$(json_field requests_waiting <<<"$HTTP_BODY")
  case ${active:-0}${waiting:-0} in *[!0-9]* | 00) return 0 ;; esac
  say "The embedding server is at work: $active requests, $waiting waiting. An index may be running against it."
  printf 'Stop all the same? [y/N] '
  read -r answer
  case $answer in y | Y | yes) ;; *) say "nothing was stopped." && exit 1 ;; esac
}

do_stop() {
  take_lock
  ask_before_stop "$1"
  each "$1" stop_one "$2"
}

stop_one() {
  local service=$1 wanted=$2 where stopped=''
  if [ "$wanted" = docker ]; then docker_needed; fi
  for where in native docker; do
    if [ -n "$wanted" ] && [ "$wanted" != "$where" ]; then continue; fi
    if [ "$where" = native ]; then native_pid "$service" >/dev/null || continue; else docker_running "$service" || continue; fi
    "${where}_stop" "$service" || die 1 "$service could not be stopped; the message is above."
    say "$service stopped ($where)"
    stopped=1
  done
  if [ -z "$stopped" ]; then
    if [ -f "$RUN/$service.pid" ] && [ "$wanted" != docker ]; then
      say "$service is not running: it died (pid $(cat "$RUN/$service.pid")); took away its pid file. See: $ME logs $service"
      rm -f "$RUN/$service.pid"
    else
      say "$service is not running"
    fi
  fi
}

do_restart() {
  local service status=0 where
  take_lock
  ask_before_stop "$1"
  if [ -n "$2" ]; then say_switch "$2"; fi
  if [ "$2" = native ] || [ "$(where_runs "${1##* }")" = native ]; then ensure_venv user || exit $?; fi
  case $1 in *jina*qdrant*) set -- "qdrant jina" "$2" ;; esac
  for service in $1; do
    where=$(where_runs "$service")
    (restart_one "$service" "${2:-$where}") || status=$?
    case $status in 130 | 143) exit $status ;; esac
  done
  return $status
}

restart_one() { # restart_one SERVICE RUNTIME
  stop_one "$1" '' && start_one "$1" "$2"
}
