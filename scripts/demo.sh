#!/usr/bin/env bash
# The failover demo: publishes a real file through leaders that die, and proves that nothing was lost.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/demo.sh [--coordinators HOW] [FILE]

Starts a coordinator and three brokers as separate processes on free ports, publishes FILE record by
record (default: at least 100,000 lines that this machine has), kills the leader of a loaded partition
with kill -9 twice, pauses it once (SIGSTOP) and stops it once (Ctrl-C) while publishing, reads everything
back and prints a verdict. Exits 0 only when nothing was lost, duplicated or reordered. Leaves nothing
behind.

  --coordinators three     three coordinators: the active one meets the same fate as the leader, each time
  --coordinators embedded  three brokers alone, each with a coordinator inside; the active one is hit
  --coordinators redis     two brokers with a coordinator inside, and a Redis (needs redis-server)

Environment:
  YAK_BIN     the yak binary to use (default: build the release one)
  DEMO_LINES  how many lines to publish (default 120000)
  DEMO_KILLS  kill leaders so many times with kill -9 instead, and print the median and longest pause
TEXT
}

coordinators=one
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --coordinators) coordinators="${2:?--coordinators needs one, three, embedded or redis}"; shift 2 ;;
    -*) echo "demo.sh: no such option: $1" >&2; usage >&2; exit 2 ;;
    *) break ;;
  esac
done
file=${1-}
[ -z "$file" ] || file=$(realpath "$file")
cd "$(dirname "$0")/.."

yak=${YAK_BIN-}
if [ -z "$yak" ]; then
  cargo build --release --locked --quiet --bin yak
  yak=$PWD/target/release/yak
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/yak-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Word list, package lists, then the sources of the crates that this very build needed.
real_lines() {
  cat /usr/share/dict/words /var/lib/dpkg/info/*.list 2>/dev/null || true
  find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -name '*.rs' -type f -print0 2>/dev/null | sort -z | xargs -0 cat
}
if [ -z "$file" ]; then
  file=$work/input
  { real_lines || true; } 2>/dev/null | head -n "${DEMO_LINES:-120000}" > "$file"
  lines=$(wc -l < "$file")
  if [ "$lines" -lt 100000 ] && [ "${DEMO_LINES:-120000}" -ge 100000 ]; then
    echo "found only $lines lines on this machine; name a file: scripts/demo.sh FILE" >&2
    exit 1
  fi
fi

status=0
"$yak" demo --file "$file" --data "$work/data" --coordinators "$coordinators" ${DEMO_KILLS:+--kills "$DEMO_KILLS"} || status=$?
exit "$status"
