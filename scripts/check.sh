#!/usr/bin/env bash
# Everything a change must pass; changes nothing.
set -euo pipefail
if [ "${1-}" = --help ] || [ "${1-}" = -h ]; then
  echo "scripts/check.sh: format, lints, docs and feature borders, then scripts/test.sh. Changes nothing."
  exit 0
fi
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "the core builds alone, the protocol without sockets"
cargo check --locked -p yak-core
cargo check --locked -p yak-protocol --no-default-features
if cargo tree --locked -p yak-core -e normal --prefix none | grep -qE '^tokio '; then
  echo "yak-core depends on tokio; the core is pure (see ARCHITECTURE.md)" >&2
  exit 1
fi
step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
scripts/test.sh
