#!/usr/bin/env bash
# The long runs: more of everything that scripts/test.sh runs a little of.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/soak.sh [--dry-run]

Runs, one after the other, whatever the environment asks for, and prints a summary at the end: what ran,
for how long, and what it counted. Goes on after a failure; exits 1 if there was one, and keeps the logs
of what failed.

  --dry-run   only say what would run

Environment (0 leaves a part out):
  SOAK_SEEDS=N      seeds of the simulation (default 3000)
  SOAK_FROM=N       the first of them (default 1000; the test command runs 1 to 300)
  SOAK_STATES=N     states of each exhaustive search (default 200000)
  SOAK_PROCESSES=N  rounds of the tests with real processes (default 5)
  SOAK_DEMOS=N      failover demos in a row (default 10)
  SOAK_KILLS=N      kills of one more demo that measures the pause after each kill -9 (default 20)
  SOAK_LOGS=DIR     where logs go (default: a temporary folder)
  YAK_BIN           the yak binary of the demos (default: build the release one)

A simulation that fails names its seed: YAK_SIM_SEED=N cargo test -p yak-core --test sim runs it alone.
TEXT
}

dry=no
case "${1-}" in
  --help|-h) usage; exit 0 ;;
  --dry-run) dry=yes ;;
  "") ;;
  *) usage >&2; exit 2 ;;
esac
seeds=${SOAK_SEEDS:-3000} from=${SOAK_FROM:-1000} states=${SOAK_STATES:-200000}
rounds=${SOAK_PROCESSES:-5} demos=${SOAK_DEMOS:-10} kills=${SOAK_KILLS:-20}
for number in "$seeds" "$from" "$states" "$rounds" "$demos" "$kills"; do
  case "$number" in
    ''|*[!0-9]*) echo "soak.sh: $number is not a number; see --help" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."

logs=${SOAK_LOGS-}
if [ "$dry" = no ]; then
  if [ -z "$logs" ]; then logs=$(mktemp -d "${TMPDIR:-/tmp}/yak-soak.XXXXXX"); else mkdir -p "$logs"; fi
fi
summary=() failures=0

# part NAME PATTERN COMMAND...: runs it, notes the time, and of its output the last lines with PATTERN.
part() {
  local name=$1 pattern=$2 log started outcome=ok figures
  shift 2
  if [ "$dry" = yes ]; then printf '%s: %s\n' "$name" "$*"; return; fi
  log="$logs/${name// /-}.log"
  printf '== %s\n' "$name"
  started=$SECONDS
  "$@" > "$log" 2>&1 || { outcome="FAILED, see $log"; failures=$((failures + 1)); tail -n 20 "$log"; }
  figures=$(grep -E "$pattern" "$log" | tail -n 6 || true)
  summary+=("$(printf '%-14s %6d s  %s' "$name" $((SECONDS - started)) "$outcome")")
  while IFS= read -r line; do
    [ -z "$line" ] || summary+=("                   $line")
  done <<< "$figures"
}

if [ "$seeds" -gt 0 ]; then
  part "simulation" 'seeds, .* steps' env YAK_SIM_SEEDS="$seeds" YAK_SIM_FROM="$from" \
    cargo test --locked -p yak-core --test sim -- --nocapture no_fault_breaks_an_invariant
fi
if [ "$states" -gt 0 ]; then
  part "search" 'states, .* moves' env YAK_SEARCH_STATES="$states" \
    cargo test --locked -p yak-core --test search -- --nocapture
fi
for ((round = 1; round <= rounds; round++)); do
  part "processes $round" 'test result' cargo test --locked -p yak-cli --test processes
done
if [ -z "${YAK_BIN-}" ] && [ $((demos + kills)) -gt 0 ]; then
  part "build" '^$' cargo build --release --locked --bin yak
  export YAK_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/yak"
fi
for ((demo = 1; demo <= demos; demo++)); do
  part "demo $demo" 'verdict|lost|longest pause' scripts/demo.sh
done
if [ "$kills" -gt 0 ]; then
  part "kills" 'verdict|pauses' env DEMO_KILLS="$kills" scripts/demo.sh
fi
[ "$dry" = no ] || exit 0

printf '\n== summary\n'
[ "${#summary[@]}" -eq 0 ] || printf '%s\n' "${summary[@]}"
if [ "$failures" -gt 0 ]; then
  printf '\n%d failed; the logs are in %s\n' "$failures" "$logs"
  exit 1
fi
[ -n "${SOAK_LOGS-}" ] || rm -rf "$logs"
printf '\nnothing failed\n'
