# shellcheck shell=bash
# Upgrade and removal: what was ever made, where, how large.

do_upgrade() {
  local before after service running='' where
  [ $# -eq 0 ] || die 2 "unknown word '$1' after upgrade." "See: $ME help"
  take_lock
  before=$(version_here)
  if ! git -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    die 1 "this folder is no git clone, so there is nothing to pull." \
      "Unpack the new version over it, then: $ME start (it installs what changed and restarts)"
  fi
  if git -C "$ROOT" rev-parse --abbrev-ref '@{upstream}' >/dev/null 2>&1; then
    say "getting the newest version"
    git -C "$ROOT" pull --ff-only --quiet ||
      die 1 "git could not update this clone; its own message is above. Nothing was changed." \
        "Your changes may be in the way: git -C $(printf '%q' "$ROOT") status"
  else
    say "this branch follows no other, so nothing is pulled; installing and restarting what is here"
  fi
  after=$(version_here)
  if [ "$before" = "$after" ]; then say "already the newest: $after"; else say "$before -> $after; what is new: CHANGELOG.md"; fi
  if [ -x "$VENV/bin/python" ]; then ensure_venv user || exit $?; fi
  for service in qdrant jina; do
    where=$(where_runs "$service")
    if [ -n "$where" ] && changed_since_start "$service" code; then running="$running $service"; fi
  done
  for service in $running; do (restart_one "$service" "$(where_runs "$service")") || exit $?; done
  [ -n "$running" ] || say "no service had to be restarted"
}

version_here() {
  local commit
  commit=$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null)
  echo "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$ROOT/embeddings/embedserve/__init__.py")${commit:+ ($commit)}"
}

# --- removal

OURS_IN_HOME='models artefacts cache hashes.json index search bench' # in a folder that the user chose, only these

# list_ours [data]: one line a thing, "KIND<tab>WHAT". `data`: also models, caches and indexes.
list_ours() {
  local home storage name path
  for name in .venv .run .pytest_cache .mypy_cache .ruff_cache .hypothesis; do
    if [ -e "$ROOT/$name" ]; then printf 'path\t%s\n' "$ROOT/$name"; fi
  done
  find "$ROOT/embeddings" "$ROOT/scripts" "$ROOT/tests" -name __pycache__ -type d -prune 2>/dev/null | sed 's/^/path	/'
  find "$ROOT" "$ROOT/embeddings" -maxdepth 1 -name '*.egg-info' 2>/dev/null | sed 's/^/path	/'
  if docker_answers; then
    for name in jina doctown qdrant; do
      if docker_ours "$name"; then printf 'container\t%s\n' "$(container_of "$name")"; fi
    done
    for name in embedserve:local embedserve:local-gpu embedserve:optimize embedserve:doctown "$(qdrant_image)"; do
      if [ -n "$name" ] && docker image inspect "$name" >/dev/null 2>&1; then printf 'image\t%s\n' "$name"; fi
    done
    docker images -q --filter dangling=true --filter label=embedserve 2>/dev/null | sed 's/^/image	/' # earlier builds
    docker network ls --format '{{.Name}}' | grep -E '^(embedserve|embeddings_default|qdrant_default)$' | sed 's/^/network	/'
  fi
  if [ -n "$(editor_entries)" ]; then printf 'editor\t%s\n' "tasks and hotkeys in $(editor_entries | tr '\n' ' ')"; fi
  agent_files | cut -f 2 | sed 's/^/agent	/'
  [ "${1:-}" = data ] || return 0
  home=$(home_folder) storage=$(storage_folder)
  if [ "$home" = "$HOME/.cache/embedserve" ]; then
    if [ -e "$home" ]; then printf 'path\t%s\n' "$home"; fi
  else
    for name in $OURS_IN_HOME; do if [ -e "$home/$name" ]; then printf 'path\t%s\n' "$home/$name"; fi; done
  fi
  case $storage in "$HOME/.local/share/embedserve"/*) storage="$HOME/.local/share/embedserve" ;; esac
  for path in "$storage" "$HOME/.local/share/embedserve" "$(dirname "$USER_SETTINGS")"; do
    if [ -e "$path" ]; then printf 'path\t%s\n' "$path"; fi
  done
  for path in "$(expanded "${HF_HUB_CACHE:-${HF_HOME:-$HOME/.cache/huggingface}/hub}")"/models--jinaai--jina-embeddings-v2-base-code; do
    if [ -e "$path" ]; then printf 'path\t%s\n' "$path"; fi
  done
  if docker_answers; then
    for name in embedserve-models embedserve-cache embedserve-qdrant; do
      if docker volume inspect "$name" >/dev/null 2>&1; then printf 'volume\t%s\n' "$name"; fi
    done
  fi
}

qdrant_image() { sed -n 's/.*image: ${QDRANT_IMAGE:-\(.*\)}/\1/p' "$ROOT/qdrant/docker-compose.yml" | sed "s|.*|${QDRANT_IMAGE:-&}|"; }

editor_entries() {
  local python
  python=$(find_python 3 8) || return 0
  "$python" "$ROOT/scripts/vscode_merge.py" list 2>/dev/null
}

# Agents that start our search from this clone: "NAME<tab>FILE" a line. Another clone's entry is not ours to take out.
agent_files() {
  local name state file
  [ -x "$VENV/bin/embedserve" ] || return 0
  "$VENV/bin/embedserve" agent status 2>/dev/null | while read -r name state file; do
    case $state in
      installed) if grep -q -F "$VENV/bin/" "$file" 2>/dev/null; then printf '%s\t%s\n' "$name" "$file"; fi ;;
    esac
  done
}

size_of() { # size_of KIND WHAT
  case $1 in
    path) du -sh "$2" 2>/dev/null | cut -f 1 ;;
    image) docker image inspect -f '{{.Size}}' "$2" 2>/dev/null | awk '{printf "%.0fM", $1 / 1e6}' ;;
    volume) docker system df -v --format '{{range .Volumes}}{{.Name}} {{.Size}}{{"\n"}}{{end}}' 2>/dev/null | sed -n "s/^$2 //p" ;;
    *) echo - ;;
  esac
}

do_uninstall() {
  local word yes='' data=data list kind what answer python name fresh=''
  for word in "$@"; do
    case $word in
      --yes) yes=1 ;;
      --keep-data) data='' ;;
      *) die 2 "unknown word '$word' after uninstall." "See: $ME help" ;;
    esac
  done
  [ -e "$RUN" ] || fresh=$RUN # the lock below makes the folder: it is not what was here before
  take_lock
  list=$(list_ours "$data" | awk '!seen[$0]++' | grep -v -x -F "path"$'\t'"${fresh:-/}")
  if [ -z "$list" ]; then rm -rf "${fresh:-}" && say "nothing of embedserve's is on this machine but this folder: $(printf '%q' "$ROOT")"; return; fi
  say "This is what embedserve has made:"
  while IFS=$'\t' read -r kind what; do printf '  %-8s %-10s %s\n' "$(size_of "$kind" "$what")" "$kind" "$what"; done <<<"$list"
  if [ -n "$data" ]; then say "Models, the embedding cache and the indexes go too; --keep-data keeps them."; fi
  if [ -z "$yes" ]; then
    [ -t 0 ] || die 1 "nothing was removed: there is no terminal to ask on." "To remove it all: $ME uninstall --yes"
    printf 'Stop the services and remove all of it? [y/N] '
    read -r answer
    case $answer in y | Y | yes) ;; *) say "nothing was removed."; return ;; esac
  fi
  end_our_processes
  each "jina qdrant" stop_one ''
  case $list in
    *"editor"$'\t'*)
      python=$(find_python 3 8) && "$python" "$ROOT/scripts/vscode_merge.py" uninstall --all --yes --remove-backups
      ;;
  esac
  agent_files | cut -f 1 | sort -u | while read -r name; do "$VENV/bin/embedserve" agent uninstall "$name" >/dev/null; done
  while IFS=$'\t' read -r kind what; do
    if [ "$kind" != editor ] && [ "$kind" != agent ] && [ "$what" != "$RUN" ]; then remove_one "$kind" "$what"; fi
  done < <(sort -t $'\t' -k 1,1 <<<"$list") # containers before images, networks and volumes
  # Their standard folders too, where nothing else is in them: rmdir removes only what is empty.
  for what in .local/share/embedserve .local/share .local .cache; do rmdir "$HOME/$what" 2>/dev/null; done
  rm -rf "$RUN"
  say "removed. What is left is this folder: rm -rf $(printf '%q' "$ROOT")"
  case $list in
    *"image"$'\t'*) say "Docker keeps what other programs may use: the base image python:3.11-slim-bookworm, and build steps (docker builder prune)" ;;
  esac
  if [ -d "${PIP_CACHE_DIR:-$HOME/.cache/pip}" ]; then say "pip's cache was yours before and may hold downloads for us too: pip cache purge"; fi
}

# What else runs from .venv would go on, and write its files again: an index in the background, an agent's search.
end_our_processes() {
  local pid
  for pid in $(processes_of_venv); do
    case " $(native_pid jina) $(native_pid qdrant) " in *" $pid "*) continue ;; esac
    say "ending pid $pid ($(command_of "$pid" | cut -c 1-100))"
    kill -TERM "$pid" 2>/dev/null
  done
}

processes_of_venv() {
  local folder pid command
  if [ -d /proc/self ]; then
    for folder in /proc/[0-9]*; do
      case $(command_of "${folder#/proc/}") in "$VENV/bin/"*) echo "${folder#/proc/}" ;; esac
    done
  else
    ps -Ao pid=,command= | while read -r pid command; do case $command in "$VENV/bin/"*) echo "$pid" ;; esac; done
  fi
}

remove_one() { # remove_one KIND WHAT
  local failed=''
  case $1 in
    path) rm -rf "$2" || failed=1 ;;
    container) docker rm -f -v "$2" >/dev/null || failed=1 ;;
    image) docker image rm "$2" >/dev/null || failed=1 ;;
    volume) docker volume rm "$2" >/dev/null || failed=1 ;;
    network) docker network rm "$2" >/dev/null || failed=1 ;;
  esac
  if [ -n "$failed" ]; then warn "could not remove the $1 $2"; fi
}
