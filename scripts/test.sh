#!/usr/bin/env bash
# All tests: `scripts/test.sh`. Needs a Rust toolchain and a C compiler; installs nc, ncat and a Redis where it may.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/test.sh [--quick]

Runs every test: unit, golden scripts, property, simulation, search, storage faults, whole clusters in
one process, and the failover demo with real processes and kill -9.

  --quick   leave out the demo with real processes

Environment:
  CI=true           a group that cannot run here is a failure instead of a note
  YAK_SIM_SEEDS=N   how many seeds the simulation runs (default 300)
TEXT
}

quick=no
case "${1-}" in
  --help|-h) usage; exit 0 ;;
  --quick) quick=yes ;;
  "") ;;
  *) usage >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# What some tests need besides Rust. Where it can be neither found nor installed, those tests say that they are
# skipped, and with CI=true they fail.
packages() {
  local missing=()
  # Another nc than that of netcat-openbsd does not know -N.
  grep -q -- -N <(nc -h 2>&1 || true) || missing+=(netcat-openbsd)
  command -v ncat >/dev/null || missing+=(ncat)
  # The server is also in redis-tools, as redis-check-rdb: without the service that redis-server would start.
  command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null || missing+=(redis-tools)
  # Clocks that can be set for one process alone.
  command -v faketime >/dev/null || missing+=(faketime)
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null && as_root=(sudo -n) || { echo "SKIPPED: what needs ${missing[*]}"; return 0; }
  fi
  command -v apt-get >/dev/null || { echo "SKIPPED: what needs ${missing[*]}"; return 0; }
  { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
    >/dev/null 2>&1 || echo "SKIPPED: what needs ${missing[*]}, which could not be installed"
}

step "Debian packages for the tests with nc, ncat, Redis and other clocks"
packages

step "unit, golden, property, simulation, search, storage and cluster tests"
cargo test --workspace --locked

if [ "$quick" = no ]; then
  step "failover demo: separate processes, kill -9, SIGSTOP, Ctrl-C"
  # The tests of the command line have just built it.
  yak=$(realpath -m "${CARGO_TARGET_DIR:-target}/debug/yak")
  "$yak" --version
  YAK_BIN="$yak" scripts/demo.sh
  for how in three embedded redis; do
    step "the same, and the active coordinator each time: $how"
    if [ "$how" = redis ] && ! command -v redis-server >/dev/null && ! command -v redis-check-rdb >/dev/null; then
      echo "SKIPPED: redis-server is not installed"
      [ "${CI-}" != true ] || exit 1
      continue
    fi
    YAK_BIN="$yak" DEMO_LINES=60000 scripts/demo.sh --coordinators "$how"
  done
fi

step "every feature that YAK promises has a test or a reason"
scripts/parity.sh

printf '\nall tests passed\n'
