#!/usr/bin/env bash
# Arbitrary bytes for everything that reads bytes from outside.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/fuzz.sh [--seconds N] [TARGET...]

Runs the fuzz targets (all of fuzz/fuzz_targets, or those named) one after the other, each for N seconds
(default 600), from its seeds in fuzz/seeds/TARGET. Ends with what was found first: the bytes lie in
fuzz/artifacts/TARGET. Fix the cause and add the bytes to the seeds: cli/tests/corpus.rs runs all of them.

The compiler of this project will do. cargo-fuzz is installed below the target folder if there is none.

  --seconds N  how long each target runs
TEXT
}

seconds=600
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --seconds) seconds="${2:?--seconds needs a number}"; shift 2 ;;
    -*) echo "fuzz.sh: no such option: $1" >&2; usage >&2; exit 2 ;;
    *) break ;;
  esac
done
cd "$(dirname "$0")/.."

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
for target in "${targets[@]}"; do
  [ -f "fuzz/fuzz_targets/$target.rs" ] || { echo "fuzz.sh: there is no target $target" >&2; exit 2; }
done

built="${CARGO_TARGET_DIR:-$PWD/target}"
export PATH="$built/fuzz-tools/bin:$PATH"
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --root "$built/fuzz-tools"
# The instrumentation is behind a switch that a stable compiler has, too.
export RUSTC_BOOTSTRAP=1

for target in "${targets[@]}"; do
  corpus="$built/fuzz-corpus/$target"
  mkdir -p "$corpus"
  echo "== $target, $seconds s"
  cargo fuzz run --target-dir "$built/fuzz" "$target" "$corpus" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1
done
