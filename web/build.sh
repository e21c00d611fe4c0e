#!/usr/bin/env bash
# build.sh: the console into web/dist, from where it is embedded; nothing when what is there was built from the same files.
set -euo pipefail
cd "$(dirname "$0")"
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 19 ? 0 : 1)'; then
	echo "Node $(node --version 2>&1) is older than 20.19: the binary is built without the console"
	[ -z "${CI:-}" ]
	exit
fi
if ! cmp -s package-lock.json node_modules/.installed-lock; then
	if ! npm ci --no-audit --no-fund --loglevel=error; then
		echo "npm did not get what the console is built with (above): the binary is built without the console"
		[ -z "${CI:-}" ]
		exit
	fi
	cp package-lock.json node_modules/.installed-lock
fi
sum=$( (git ls-files -z --cached --others --exclude-standard . ../docs/reference/openapi.json 2>/dev/null || find . ../docs/reference/openapi.json \( -name node_modules -o -name dist \) -prune -o -type f -print0) |
	grep -zvE '^(test/|pages/|.*\.go$)' | sort -z | xargs -0 sha256sum 2>/dev/null | sha256sum)
if [ "$(cat dist/.built 2>/dev/null)" != "$sum" ]; then
	npm run --silent build
	echo "$sum" >dist/.built
fi
