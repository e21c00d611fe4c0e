# make run    the example office behind a running Lanyard, step by step
# make test   everything that .ci/run runs; installs what it needs
# make bench  the figures: lines `ratio <name> <value>` and `bench <name> <value> <unit>`
# make scale  a million identities in a PostgreSQL of their own: lines `scale <name> <value> <unit> (goal …)`; SCALE is how many
# make simulate  what a fleet is like that nobody has here, from what was measured (docs/scale.md)
# make eval   a hijacked agent's recorded runs, played through the gateway; EVAL=DIR for another data set
# make fuzz   every fuzz target, FUZZTIME each (default 60s)
# make lint   gofmt, go vet, staticcheck, govulncheck where its database can be reached
# make clean  removes what the others made
SHELL := /bin/bash
export GOTOOLCHAIN := local
export CGO_ENABLED ?= 0
FUZZTIME ?= 60s
SCALE ?= 1000000
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0

.PHONY: all build console run test lint bench scale simulate eval fuzz generate interop-deps clean
all: build

# ---- build and run (room: cmd/lanyard) --------------------------------------
build: console
	go build -o bin/lanyard ./cmd/lanyard

# The console, by npm; without npm the binary is built without it, and /console/ says so.
console:
	@if command -v npm >/dev/null; then web/build.sh; else echo "no npm: the binary is built without the console"; fi

# RUN takes flags, as in make run RUN=--once
run: build
	go build -o bin/office ./examples/office/server
	go build -o bin/office-agent ./examples/office/agent
	go build -o bin/office-run ./examples/run
	bin/office-run $(RUN)

# ---- checks (room: test) ------------------------------------------------------
test:
	test/run.sh

lint:
	test/lint.sh "$(STATICCHECK)" "$(GOVULNCHECK)"

bench: build
	go run ./test/bench

scale: build
	go run ./test/scale -identities $(SCALE)

# SIMULATE takes flags, as in make simulate SIMULATE="-gateways 1000 -set request_cpu=50"
simulate:
	go run ./test/simulate $(SIMULATE)

EVAL ?= test/eval/data
eval: build
	go run ./test/eval -data "$(EVAL)"

fuzz:
	test/fuzz.sh "$(FUZZTIME)"

# What the tests written for Node need: pinned by test/interop/package-lock.json.
interop-deps:
	test/interop/install.sh

generate:
	go generate ./...

# ./data goes only when make run made it: another has somebody's record in it.
clean:
	rm -rf bin test/interop/node_modules test/interop/.venv web/node_modules web/test-results web/src/api/schema.gen.d.ts
	find web/dist -mindepth 1 ! -name .keep -delete
	[ ! -d data/office ] || rm -rf data
