# shellcheck shell=bash
# A service as a container, through its compose file (docker compose v2, or docker-compose 1.29).

container_of() { case $1 in jina) echo jina-openai ;; doctown) echo doctown-embedding ;; qdrant) echo qdrant ;; esac; }

DOCKER_ANSWERS=''
docker_answers() {
  if [ -z "$DOCKER_ANSWERS" ]; then
    if command -v docker >/dev/null 2>&1 && docker info >/dev/null 2>&1; then DOCKER_ANSWERS=yes; else DOCKER_ANSWERS=no; fi
  fi
  [ "$DOCKER_ANSWERS" = yes ]
}

docker_needed() {
  docker_answers && return
  if command -v docker >/dev/null 2>&1; then
    die 4 "no Docker Engine answers (docker info fails)." "Start Docker, or run without it: $ME start --native"
  fi
  die 4 "Docker is not installed." "Install it (https://docs.docker.com/get-docker/), or run without it: $ME start --native"
}

docker_state() { docker inspect -f "$2" "$(container_of "$1")" 2>/dev/null; }
docker_running() { docker_ours "$1" && [ "$(docker_state "$1" '{{.State.Running}}')" = true ]; }

# Container names belong to the machine, not to this clone: a Qdrant of the user's own is often called `qdrant`, and
# another clone's containers have our very names. Only what this clone made is stopped, restarted, removed or shown as
# running. It has a volume of ours, and Compose's label names our folder (or one that is gone: this clone was moved).
docker_ours() {
  local said folder mine
  docker_answers || return 1
  said=$(docker_state "$1" '{{range .Mounts}}{{.Name}} {{end}}|{{index .Config.Labels "com.docker.compose.project.working_dir"}}') || return 1
  case ${said%%|*} in *embedserve-*) ;; *) return 1 ;; esac
  folder=${said#*|} mine=$(folder_of "$1")
  [ ! -d "$folder" ] || [ "$(cd "$folder" && pwd -P)" = "$mine" ]
}

folder_of() { case $1 in qdrant) echo "$ROOT/qdrant" ;; *) echo "$ROOT/embeddings" ;; esac; } # of its compose file

# The name is taken by a container that is not ours: Compose would recreate another clone's with our settings, or fail.
docker_name_free() {
  local name said
  name=$(container_of "$1")
  said=$(docker_state "$1" '{{.Config.Image}}{{with index .Config.Labels "com.docker.compose.project.working_dir"}}, from {{.}}{{end}}') || return 0
  docker_ours "$1" && return 0
  die 5 "$1 cannot start in Docker: there is a container called $name that this clone did not make ($said)." \
    "Give that one another name (docker rename $name $name-of-mine), or run ours without Docker: $ME start $1 --native"
}

compose() { # compose SERVICE WORDS...
  local folder files
  folder=$(folder_of "$1")
  files=(-f "$folder/docker-compose.yml")
  if [ "$1" = jina ] && [ "${EMBEDDING_DEVICE:-}" = cuda ]; then files=("${files[@]}" -f "$folder/docker-compose.gpu.yml"); fi
  shift
  if docker compose version >/dev/null 2>&1; then
    docker compose "${files[@]}" "$@"
  elif command -v docker-compose >/dev/null 2>&1; then
    docker-compose "${files[@]}" "$@"
  else
    die 4 "Docker answers, but Compose is not installed (neither 'docker compose' nor 'docker-compose')." \
      "Install the Compose plugin, or run without Docker: $ME start --native"
  fi
}

docker_start() {
  docker_needed
  docker_name_free "$1"
  say "$1: starting the container $(container_of "$1") (the first time builds or pulls its image)"
  compose "$1" up -d --build ||
    die 1 "$1: Docker could not start it; its own message is above." "Run without Docker: $ME start $1 --native"
  drop_superseded_images
  docker_connect "$1"
}

# Each build after an update leaves the image of before without a name, 0.9 GB each time. Only finished images of ours:
# the first stage is what the next build begins from. One that a container still uses stays.
drop_superseded_images() {
  local image
  docker images -q --filter dangling=true --filter label=embedserve=server 2>/dev/null | while read -r image; do
    docker image rm "$image" >/dev/null 2>&1
  done
}

# The restart policy hides a crash: a container that came back once while we wait has failed.
docker_failed() {
  case $(docker_state "$1" '{{.State.Status}} {{.RestartCount}}') in 'running 0' | 'created 0') return 1 ;; *) return 0 ;; esac
}

docker_stop() { docker stop "$(container_of "$1")" >/dev/null; } # the compose file's stop_grace_period holds
docker_forget() { docker stop -t 1 "$(container_of "$1")" >/dev/null 2>&1; } # or it would restart for ever

docker_abandon() { docker stop -t 1 "$(container_of "$1")" >/dev/null 2>&1; }

docker_tail() { # docker_tail SERVICE LINES [follow]: of this start alone
  local since container
  container=$(container_of "$1")
  since=$(docker_state "$1" '{{.State.StartedAt}}')
  # The restart policy has started it again, and it may have said a few lines already: the reason is what it said before.
  [ -n "${3:-}" ] || [ "$(docker_state "$1" '{{.RestartCount}}')" = 0 ] || since=''
  docker logs ${since:+--since "$since"} --tail "$2" ${3:+-f} "$container" 2>&1
}

docker_embedserve() { docker exec jina-openai embedserve "$@"; }

# The two compose files are projects of their own; a client in a container reaches both through this network.
NETWORK=embedserve
docker_connect() { # docker_connect SERVICE
  docker_ours "$1" || return 0
  docker network inspect "$NETWORK" >/dev/null 2>&1 || docker network create "$NETWORK" >/dev/null 2>&1
  docker network connect "$NETWORK" "$(container_of "$1")" >/dev/null 2>&1 || true # it is connected already
}

docker_memory() { # bytes are not to be had from the command line; Docker's own words are
  docker stats --no-stream --format '{{.MemUsage}}' "$(container_of "$1")" 2>/dev/null | sed 's, */.*,,'
}

docker_uptime() {
  docker ps --filter "name=^$(container_of "$1")\$" --format '{{.Status}}' 2>/dev/null | sed -e 's/^Up //' -e 's/ (.*//'
}
docker_label() { echo "docker, $(container_of "$1")"; }
