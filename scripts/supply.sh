#!/usr/bin/env bash
# What we depend on: known advisories, and a bill of materials.
#
#   scripts/supply.sh advisories   the versions of constraints.txt against the public advisories (pip-audit)
#                                  0 none known   1 some, listed   2 not all could be asked about
#   scripts/supply.sh sbom [FILE]  what .venv has installed, as CycloneDX JSON (sbom.json)
#
# The two tools come into an environment of their own that is removed at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

install() { # install PACKAGE==VERSION
  "$python" -m venv "$tools/venv"
  if ! "$tools/venv/bin/pip" install -q --disable-pip-version-check "$1" 2>"$tools/why"; then
    tail -3 "$tools/why" >&2
    echo "supply.sh: $1 could not be installed; is the package index reachable?" >&2
    exit 2
  fi
}

# pip-audit says "no known vulnerabilities" also of packages that nobody could tell it about.
judge='
import json, sys

try:
    found = json.load(open(sys.argv[1]))["dependencies"]
except (ValueError, KeyError):
    found = []
asked = [one for one in found if "skip_reason" not in one]
print(f"{len(asked)} of {len(found)} packages could be asked about")
for one in asked:
    for bad in one["vulns"]:
        mended = ", ".join(bad["fix_versions"]) or "no version yet"
        names = " ".join([bad["id"], *bad.get("aliases", [])])
        print("{} {}: {} (mended in {})".format(one["name"], one["version"], names, mended))
if any(one["vulns"] for one in asked):
    sys.exit(1)
if not asked or len(asked) < len(found):
    print("of the others nothing is known: is the public index reachable?", file=sys.stderr)
    sys.exit(2)
'

advisories() {
  install pip-audit==2.10.1
  "$tools/venv/bin/pip-audit" --progress-spinner off --no-deps --disable-pip -r constraints.txt \
    --format json >"$tools/found.json" 2>"$tools/why" || true
  "$python" -c "$judge" "$tools/found.json"
}

sbom() {
  local file=${1:-sbom.json}
  install cyclonedx-bom==7.5.0
  "$tools/venv/bin/cyclonedx-py" environment --output-reproducible --pyproject pyproject.toml \
    --output-format JSON -o "$file" "$python"
  echo "$file: $(grep -c '"bom-ref"' "$file") components"
}

case ${1:-} in
  advisories) advisories ;;
  sbom) sbom "${2:-}" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit 2 ;;
esac
