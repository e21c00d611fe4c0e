#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the module for TIME each, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-5s}
n=0
while IFS=: read -r file target; do
	n=$((n + 1))
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")" | grep -v -E '^(fuzz: elapsed|PASS)' || exit 1
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/')
echo "fuzz: $n targets, $time each"
[ "$n" -gt 0 ]
