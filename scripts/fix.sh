#!/usr/bin/env bash
# Formats and applies the lints' own fixes.
set -euo pipefail
if [ "${1-}" = --help ] || [ "${1-}" = -h ]; then
  echo "scripts/fix.sh: cargo clippy --fix and cargo fmt over the whole workspace."
  exit 0
fi
cd "$(dirname "$0")/.."
cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
cargo fmt --all
