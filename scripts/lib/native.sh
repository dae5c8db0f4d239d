# shellcheck shell=bash
# A service as a process of its own from .venv: in its own session, with nothing inherited, its pid in .run.

native_words() { # native_words SERVICE: the subcommand that its process shows in its command line
  case $1 in jina) echo 'embedserve serve' ;; qdrant) echo 'embedserve qdrant' ;; esac
}

# native_pid SERVICE: the pid of our live process; empty otherwise. A pid that was reused is not ours.
native_pid() {
  local pid
  pid=$(cat "$RUN/$1.pid" 2>/dev/null) || return 1
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  case $(command_of "$pid") in *"$(native_words "$1")"*) echo "$pid" ;; *) return 1 ;; esac
}

native_start() {
  local service=$1 log="$RUN/$1.log"
  if [ -f "$RUN/$service.pid" ]; then
    say "$service: took away a stale pid file (pid $(cat "$RUN/$service.pid") is not ours any more)"
    rm -f "$RUN/$service.pid"
  fi
  if [ -f "$log" ] && [ "$(wc -c <"$log")" -gt 10000000 ]; then mv -f "$log" "$log.1"; fi
  printf '== %s started %s\n' "$service" "$(date '+%Y-%m-%d %H:%M:%S')" >>"$log"
  cd "$ROOT" || exit 1 # a relative path in .env means one from here
  case $service in
    jina) detached "$log" "$VENV/bin/embedserve" serve ;;
    qdrant) detached "$log" "$VENV/bin/embedserve" qdrant --port "$(port_of qdrant)" ;;
  esac
  echo "$DETACHED_PID" >"$RUN/$service.pid"
  # Until it has become the server it looks like us, and native_pid would not know it.
  until native_pid "$service" >/dev/null || ! kill -0 "$DETACHED_PID" 2>/dev/null; do sleep 0.05; done
}

# detached LOG COMMAND...: sets DETACHED_PID. macOS has no setsid command, so Python makes the session, drops every
# inherited descriptor (a captured `start` must return) and becomes the command, which keeps the pid.
detached() {
  local log=$1
  shift
  "$VENV/bin/python" -c '
import os, sys
os.setsid()
os.closerange(3, 4096)
os.execv(sys.argv[1], sys.argv[1:])' "$@" >>"$log" 2>&1 </dev/null &
  DETACHED_PID=$!
}

# native_failed SERVICE: true when the process that we started is gone.
# Looked at twice: while a process turns into another (exec), it has no command line for a moment.
native_failed() {
  native_pid "$1" >/dev/null && return 1
  sleep 0.3
  ! native_pid "$1" >/dev/null
}

native_stop() {
  local service=$1 pid limit began=$SECONDS shown=0
  pid=$(native_pid "$service") || return 0
  limit=${EMBEDDING_DRAIN_TIMEOUT:-25}
  limit=$((${limit%%.*} + 10))
  kill -TERM "$pid" 2>/dev/null
  while native_pid "$service" >/dev/null; do
    if [ $((SECONDS - began)) -ge "$limit" ]; then
      warn "$service did not end within $limit s of SIGTERM; killing it"
      kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null
      sleep 0.5
      break
    fi
    progress "stopping $service: its requests finish first" $((SECONDS - began))
    sleep 0.2
  done
  progress_end
  kill -KILL -- "-$pid" 2>/dev/null # whatever is left of its session
  rm -f "$RUN/$service.pid"
}

native_tail() { # native_tail SERVICE LINES [follow]: of this start alone; earlier ones stay in the file
  local log=$RUN/$1.log first last
  if [ -f "$log" ]; then
    first=$(grep -n "^== $1 started " "$log" | tail -n 1 | cut -d : -f 1)
    last=$(($(wc -l <"$log") - $2 + 1))
    [ "$last" -le "${first:-1}" ] || first=$last
    # One tail shows and follows: between two of them a line would be lost.
    exec tail -n "+${first:-1}" ${3:+-f} "$log"
  else
    say "$1 has no log yet: it was never started natively."
  fi
}

# Not ready yet: nobody's request is in work, so it need not drain.
native_abandon() {
  local pid
  pid=$(native_pid "$1") || pid=${DETACHED_PID:-}
  if [ -n "$pid" ]; then end_group "$pid"; fi
  rm -f "$RUN/$1.pid"
}

native_forget() { rm -f "$RUN/$1.pid"; }

native_embedserve() { "$VENV/bin/embedserve" "$@"; }

native_memory() { # bytes, of the process
  local kilobytes
  if [ -d /proc/self ]; then # small containers have no ps
    kilobytes=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(native_pid "$1")/status" 2>/dev/null)
  else
    kilobytes=$(ps -o rss= -p "$(native_pid "$1")" 2>/dev/null)
  fi
  [ -z "$kilobytes" ] || echo $((kilobytes * 1024))
}

native_uptime() { ps -o etime= -p "$(native_pid "$1")" 2>/dev/null | tr -d ' '; }
native_label() { echo "native, pid $(native_pid "$1")"; }
