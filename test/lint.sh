#!/usr/bin/env bash
# lint.sh STATICCHECK GOVULNCHECK: formatting, vet, staticcheck, known vulnerabilities.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=$(gofmt -l $(git ls-files --cached --others --exclude-standard '*.go'))
if [ -n "$bad" ]; then
	echo "not gofmt'ed:" && echo "$bad" && exit 1
fi
go vet ./...
go run "$1" ./...
reference=$(mktemp -d)
trap 'rm -rf "$reference"' EXIT
go run ./cmd/lanyard reference "$reference"
# metrics.md is written by hand, and held against a running server in test/e2e.
diff -r -x metrics.md "$reference" docs/reference >/dev/null || { echo "docs/reference is not what the code says: run make generate" && exit 1; }
# The vulnerability database is a web site; without it the check says so and does not fail the build.
if curl -sf -m 5 -o /dev/null https://vuln.go.dev/index/db.json; then
	go run "$2" ./...
else
	echo "govulncheck: not run, https://vuln.go.dev cannot be reached from here"
fi
echo "lint: ok"
