#!/usr/bin/env bash
# Runs a command as on a CPU that has AVX2 and no AVX-512, VNNI, bf16 or AMX:
#
#     scripts/bench/avx2_only.sh embedserve optimize all-MiniLM-L6-v2
#
# Every library then chooses its AVX2 kernels, so the speed is that of AVX2 on this CPU (avx2_only.c says how), and
# /proc/cpuinfo leaves the flags out. Linux on an Intel CPU with cpuid_fault, a C compiler, root (for the mount).
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
grep -qw cpuid_fault /proc/cpuinfo || { echo "avx2_only: this CPU has no cpuid_fault" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
made=${TMPDIR:-/tmp}/embedserve-avx2-only-$UID
mkdir -p -m 700 "$made"
if [ "$here/avx2_only.c" -nt "$made/avx2_only.so" ]; then
  cc -O2 -shared -fPIC -o "$made/avx2_only.so.$$" "$here/avx2_only.c"
  mv "$made/avx2_only.so.$$" "$made/avx2_only.so"
fi
sed -E '/^flags/s/ (avx512|amx_|avx_vnni|avx_ifma|avx_ne)[a-z0-9_]*//g' /proc/cpuinfo >"$made/cpuinfo"
exec unshare --mount bash -c 'mount --bind "$0" /proc/cpuinfo; so=$1; shift; LD_PRELOAD=$so exec "$@"' \
  "$made/cpuinfo" "$made/avx2_only.so" "$@"
