#!/usr/bin/env bash
# All tests: `scripts/test.sh`. Needs a Rust toolchain and a C compiler, nothing else.
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

step "unit, golden, property, simulation, search, storage and cluster tests"
cargo test --workspace --locked

if [ "$quick" = no ]; then
  step "failover demo: separate processes, kill -9, Ctrl-C"
  cargo build --locked --bin yak
  YAK_BIN="$PWD/target/debug/yak" scripts/demo.sh
fi

step "every feature that YAK promises has a test or a reason"
scripts/parity.sh

printf '\nall tests passed\n'
