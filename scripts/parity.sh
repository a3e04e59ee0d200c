#!/usr/bin/env bash
# Checks docs/PARITY.md: every id has a test that exists, or a reason.
set -euo pipefail
if [ "${1-}" = --help ] || [ "${1-}" = -h ]; then
  echo "scripts/parity.sh: fails on an id of docs/PARITY.md with neither an existing test nor a reason."
  exit 0
fi
cd "$(dirname "$0")/.."

tests=$(mktemp)
trap 'rm -f "$tests"' EXIT
# Names of test functions, and the scripts and scenario files that count as tests.
git grep -hoE 'fn [a-z0-9_]+' -- '*.rs' | sed 's/^fn //' | sort -u > "$tests"
git ls-files 'scripts/*.sh' 'core/tests/scripts' >> "$tests"

awk -v list="$tests" '
  BEGIN { while ((getline name < list) > 0) known[name] = 1; split("F 39 R 58 D 88 K 33 Y 36 X 12", want, " ") }
  /^\| *seed:/ {
    split($0, cell, "|"); id = cell[2]; proof = cell[4]; reason = cell[5]
    gsub(/^ +| +$/, "", id); gsub(/^ +| +$/, "", proof); gsub(/^ +| +$/, "", reason)
    if (seen[id]++) { print id ": listed twice"; bad = 1 }
    if (proof == "" && reason == "") { print id ": neither a test nor a reason"; bad = 1 }
    count = split(proof, names, /[ ,`]+/)
    for (i = 1; i <= count; i++) if (names[i] != "" && !(names[i] in known)) { print id ": no test named " names[i]; bad = 1 }
    if (proof != "") proven++; else open++
  }
  END {
    for (i = 1; i <= 12; i += 2) for (n = 1; n <= want[i + 1]; n++) if (!(("seed:" want[i] n) in seen)) { print "seed:" want[i] n ": not listed"; bad = 1 }
    printf "parity: %d shown by tests, %d with a reason\n", proven, open
    exit bad
  }' docs/PARITY.md
