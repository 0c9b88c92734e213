#!/usr/bin/env bash
# Counts the instructions of an accepted request with a token that has been seen before, all three layers around it.
# Unlike times, they do not depend on what else the machine does.
# usage: instructions.sh PEERS
set -euo pipefail
command -v valgrind >/dev/null || { echo "valgrind is missing: install the package valgrind" >&2; exit 1; }
peers=$1

# The instructions of a run with this many requests.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$peers" instructions "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : //p'
}

printf '\n| request | instructions |\n|---|---:|\n'
for kind in cookie post header; do
  printf '| %s | %d |\n' "$kind" $((($(count "$kind" 3000) - $(count "$kind" 1000)) / 2000))
done
