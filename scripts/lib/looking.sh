# shellcheck shell=bash
# status, logs and warmup: what is to be seen of a service, in either runtime. Nothing here changes anything.

do_status() {
  local status=0
  printf '%-8s %-22s %-9s %-32s %-5s %-9s %s\n' SERVICE RUNNING HEALTHY MODEL DIM MEMORY UPTIME
  each "$1" status_one "$2" || status=$?
  return $status
}

status_one() {
  local service=$1 where healthy=yes detail=''
  where=$(where_runs "$service")
  if [ -z "$where" ] || { [ -n "$2" ] && [ "$2" != "$where" ]; }; then
    printf '%-8s %-22s %-9s\n' "$service" no -
    if [ -f "$RUN/$service.pid" ] && [ -z "$where" ]; then
      say "  it died: pid $(cat "$RUN/$service.pid") is gone. Why: $ME logs $service    Again: $ME start $service"
    elif [ -z "$where" ] && port_taken "$(address_of "$service")" "$(port_of "$service")"; then
      say "  port $(port_of "$service") is taken by $(port_owner "$(port_of "$service")")"
    fi
    exit 3
  fi
  http_get "$(url_of "$service")$(ready_path "$service")"
  if [ "$HTTP_CODE" != 200 ]; then
    healthy=no
    detail=$(json_field message <<<"$HTTP_BODY")
    detail=${detail:-"no answer on $(url_of "$service")$(ready_path "$service")"}
    if [ -n "$(listens_elsewhere "$service")" ]; then
      detail="it was started on $(listens_elsewhere "$service"), and the settings say $(url_of "$service") now. Move it there: $ME restart $service"
    fi
  fi
  "status_$service" "$where" "$healthy"
  if [ -n "$detail" ]; then say "  not healthy: $detail"; fi
  show_notice "$service" | sed 's/^/  /'
  [ "$healthy" = yes ] || exit 3
}

status_row() { printf '%-8s %-22s %-9s %-32s %-5s %-9s %s\n' "$@"; }

status_jina() {
  local model dimension memory uptime
  http_get "$(url_of jina)/health"
  model=$(json_field model <<<"$HTTP_BODY") dimension=$(json_field embedding_dim <<<"$HTTP_BODY")
  memory=$(json_field rss_bytes <<<"$HTTP_BODY") uptime=$(json_field uptime_seconds <<<"$HTTP_BODY")
  status_row jina "$("${1}_label" jina)" "$2" "${model:--}" "${dimension:--}" "$(megabytes "$memory")" "$(duration "${uptime%%.*}")"
}

status_qdrant() {
  local version
  http_get "$(url_of qdrant)/"
  version=$(json_field version <<<"$HTTP_BODY")
  status_row qdrant "$("${1}_label" qdrant)" "$2" "${version:+version $version}" - \
    "$(megabytes "$("${1}_memory" qdrant)")" "$("${1}_uptime" qdrant)"
}

megabytes() {
  case $1 in '' | null) echo - ;; *[!0-9]*) echo "$1" ;; *) echo "$(($1 / 1048576)) MB" ;; esac
}

duration() {
  case $1 in
    '' | *[!0-9]*) echo - ;;
    *) if [ "$1" -lt 60 ]; then echo "$1 s"; elif [ "$1" -lt 3600 ]; then echo "$(($1 / 60)) min"; else echo "$(($1 / 3600)) h $(($1 % 3600 / 60)) min"; fi ;;
  esac
}

do_logs() {
  local service followers=''
  if [ -z "$3" ]; then
    each "$1" logs_one "$2" ''
    return
  fi
  for service in $1; do
    logs_one "$service" "$2" follow &
    followers="$followers $!"
  done
  # shellcheck disable=SC2064,SC2086  # the pids of now, each a word
  trap "kill $followers 2>/dev/null; exit 130" INT TERM
  wait
}

logs_one() {
  local runtime=$2
  # Not running: the native log if there is one, else the stopped container's.
  runtime=${runtime:-$(where_runs "$1")}
  if [ -z "$runtime" ]; then
    runtime=native
    if [ ! -f "$RUN/$1.log" ] && docker_ours "$1"; then runtime=docker; fi
  fi
  say "== $1 ($runtime)"
  "${runtime}_tail" "$1" 100 "$3"
}

do_warmup() { each "$1" warmup_one; }

warmup_one() {
  local service=$1 where
  where=$(where_runs "$service")
  [ -n "$where" ] || die 3 "$service is not running." "Start it: $ME start $service"
  if [ "$service" = qdrant ]; then
    http_get "$(url_of qdrant)/"
    [ "$HTTP_CODE" = 200 ] || die 1 "qdrant does not answer as it should (HTTP $HTTP_CODE)." "See: $ME logs qdrant"
    say "qdrant $(json_field version <<<"$HTTP_BODY") answers on $(url_of qdrant)"
    return
  fi
  if [ "$where" = docker ]; then
    docker_embedserve warmup --url http://127.0.0.1:4000 --shown-url "$(url_of jina)"
  else
    native_embedserve warmup --url "$(url_of jina)"
  fi
}
