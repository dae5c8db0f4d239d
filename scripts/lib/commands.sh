# shellcheck shell=bash
# embedserve's other commands (index, search, mcp, doctor, ...), in the runtime that this clone runs in: from .venv, or
# in a container of the server's image that sees the folder under its own path. The user types the same in both.

embedserve_command() {
  local command=$1
  shift
  if [ "$(command_runtime)" = docker ]; then
    "docker_run_$(where_in_docker "$command")" "$command" "$@"
    return
  fi
  case $command in
    optimize) ensure_venv optimize || exit $? ;;
    *) ensure_venv user || exit $? ;;
  esac
  exec "$VENV/bin/embedserve" "$command" "$@"
}

# Where the services run now; else where they ran last; else .venv, if there is one.
command_runtime() {
  local where
  where=$(where_runs jina)
  [ -n "$where" ] || where=$(where_runs qdrant)
  if [ -z "$where" ] && [ -x "$VENV/bin/embedserve" ] && [ "$(last_runtime)" != docker ]; then where=native; fi
  [ -n "$where" ] || where=$(choose_runtime '') || exit $?
  echo "$where"
}

where_in_docker() {
  case $1 in
    index | search | mcp | collections) echo client ;;
    optimize) echo optimizer ;;
    *) echo server ;;
  esac
}

image_needed() {
  docker_needed
  docker image inspect embedserve:local >/dev/null 2>&1 || die 3 "the image embedserve:local is not built yet." "Start it once: $ME start"
}

terminal_words() { if [ -t 0 ] && [ -t 1 ]; then echo -it; else echo -i; fi; }

# A client: as the user, with the current folder (and a folder that is named) read-only under their own paths, so that
# the collection has the name that an editor on this machine gives it.
docker_run_client() {
  local word folder mounts
  image_needed
  docker_connect jina
  docker_connect qdrant
  folder=$(pwd -P)
  mounts=(-v "$PWD:$PWD:ro")
  [ "$folder" = "$PWD" ] || mounts=("${mounts[@]}" -v "$folder:$folder:ro")
  for word in "$@"; do
    case $word in /*) if [ -d "$word" ]; then mounts=("${mounts[@]}" -v "$word:$word:ro"); fi ;; esac
  done
  mkdir -p "$(home_folder)"
  # shellcheck disable=SC2046  # words
  exec docker run --rm $(terminal_words) --network "$NETWORK" "${mounts[@]}" -w "$PWD" -e "PWD=$PWD" \
    -v "$(home_folder):/state" -e EMBEDDING_HOME=/state -e HOME=/tmp --user "$(id -u):$(id -g)" \
    -e "EMBEDDING_URL=${EMBEDDING_URL:-http://jina-openai:4000/v1}" -e "QDRANT_URL=$(url_for_containers)" \
    -e "EMBEDDING_API_KEY=${EMBEDDING_API_KEY:-}" -e "QDRANT_API_KEY=${QDRANT_API_KEY:-}" embedserve:local "$@"
}

# Inside, this machine's loopback is the container's own: a Qdrant of ours is reached by its name.
url_for_containers() {
  case ${QDRANT_URL:-} in
    '' | http://localhost* | http://127.*) echo http://qdrant:6333 ;;
    *) echo "$QDRANT_URL" ;;
  esac
}

# What looks at the server's own files and limits, beside the server.
docker_run_server() {
  image_needed
  if docker_running jina; then
    docker_connect jina
    # shellcheck disable=SC2046
    exec docker exec $(terminal_words) -e "QDRANT_URL=$(url_for_containers)" -e "QDRANT_API_KEY=${QDRANT_API_KEY:-}" \
      jina-openai embedserve "$@"
  fi
  # shellcheck disable=SC2046
  exec docker run --rm $(terminal_words) -v embedserve-models:/data/hub -v embedserve-cache:/data/embedserve \
    -e "HF_TOKEN=${HF_TOKEN:-}" -e "HF_ENDPOINT=${HF_ENDPOINT:-https://huggingface.co}" \
    -e "EMBEDDING_MODEL=${EMBEDDING_MODEL:-}" embedserve:local "$@"
}

# Quantising needs libraries that no server needs: an image of its own, made the first time.
docker_run_optimizer() {
  image_needed
  say "optimize: making its image (the first time: about 0.5 GB more, some minutes)"
  docker build -q -f "$ROOT/embeddings/Dockerfile" --build-arg "EXTRAS=search optimize" -t embedserve:optimize "$ROOT" >/dev/null ||
    die 1 "the image could not be built; Docker's own message is above."
  # shellcheck disable=SC2046
  docker run --rm $(terminal_words) -v embedserve-models:/data/hub -v embedserve-cache:/data/embedserve \
    embedserve:optimize "$@" && say "Use it: $ME restart jina"
}

# settings: where everything is said and kept.
do_settings() {
  [ $# -eq 0 ] || die 2 "unknown word '$1' after settings." "See: $ME help"
  say "Settings are looked for in this order; the first that says one wins:"
  say "  1. flags   2. the environment"
  say "  3. $(printf '%q' "$ROOT/.env")$([ -f "$ROOT/.env" ] || echo ' (not there)')"
  say "  4. $(printf '%q' "$USER_SETTINGS")$([ -f "$USER_SETTINGS" ] || echo ' (not there)')"
  say "Runtime: $(choose_runtime '')"
  say
  "$(command_runtime)_settings"
}

native_settings() {
  ensure_venv user || exit $?
  "$VENV/bin/embedserve" search --show-settings
  say
  exec "$VENV/bin/embedserve" serve --show-settings
}

docker_settings() { docker_run_server serve --show-settings; }
