# Two commands do all the set-up: `make demo` (no root) and `make test` (with root on Debian it also
# installs what the lab needs). Everything lives in .venv; nothing else on the machine is touched.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
unexport PYTHONDONTWRITEBYTECODE	# each of a thousand starts would compile all of it anew

.PHONY: help demo test fast lab lab-packages lab-down stock stock-guide bench bench-packages bench-replication \
	bench-replication-estate bench-adoption bench-desk bench-failover bench-house lint lock soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-24s %s\n", $$1, $$2}' Makefile

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("hotsite needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 $(MAKECMDGOALS)") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --require-hashes -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.runtime ## The talk's estate in memory: faults strike, the loop heals (no root)
	@$(BIN)/hotsite demo

lab-packages:
	@if [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then examples/lab/install; \
	else echo "Not root on Debian: the lab tests will be skipped."; fi

test: $(VENV)/.dev lab-packages ## Every test; the lab's too when root on Debian
	@$(BIN)/python -m tests

fast: $(VENV)/.dev ## What is decided and written: no root, no lab, no night that is played
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not lab and not slow"

lab: $(VENV)/.runtime ## Install the lab's packages and bring the lab up (root on Debian)
	@test "$$(id -u)" = 0 || { echo "The lab makes network namespaces: run make lab as root."; exit 1; }
	@examples/lab/install
	@examples/lab/lab up
	@echo "Now: . $(BIN)/activate && hotsite plan specs/"

lab-down: ## Take the lab away, its disks too
	@examples/lab/lab down

stock: $(VENV)/.runtime ## Two stock Debian hosts as VMs, and the whole way of an estate on them (root)
	@test "$$(id -u)" = 0 || { echo "The stock hosts need network namespaces: run make stock as root."; exit 1; }
	@examples/stock/install
	@examples/stock/stock check

stock-guide: ## The guide of examples/first-estate, typed word by word on three stock hosts (root)
	@test "$$(id -u)" = 0 || { echo "The stock hosts need network namespaces: run make stock-guide as root."; exit 1; }
	@examples/stock/install
	@examples/stock/stock guide

bench: $(VENV)/.dev lab-packages ## Every figure, beside its peers, as a table and as JSON
	@test "$$(id -u)" != 0 || tests/bench/install
	@$(PIP) install --require-hashes -r requirements-bench.lock
	@$(BIN)/python -m tests.bench

bench-packages: lab-packages
	@test "$$(id -u)" = 0 || { echo "The bench makes hosts of its own: run it as root."; exit 1; }
	@tests/bench/install

bench-replication: $(VENV)/.dev bench-packages ## What replication costs, beside rsync, nbdcopy and virtnbdbackup (root)
	@$(BIN)/python -m tests.bench.replication

bench-replication-estate: $(VENV)/.dev bench-packages ## The talk's estate for 30 minutes: no point older than promised (root)
	@$(BIN)/python -m tests.bench.replication estate

bench-failover: $(VENV)/.dev bench-packages ## What failover costs and how long it takes, both drivers of the lease (root)
	@$(BIN)/python -m tests.bench.failover

bench-adoption: $(VENV)/.dev ## How long import and doctor take, over real sshds on loopback
	@$(BIN)/python -m tests.bench.adoption

bench-desk: $(VENV)/.dev ## The page over 5,000 VMs in Chromium: how soon it is there, what it costs
	@test "$$(id -u)" != 0 || tests/bench/install
	@$(BIN)/python -m tests.bench.desk

bench-house: $(VENV)/.dev ## How easily the code can be followed: files, cycles, jumps of a reader
	@$(BIN)/python -m tests.bench.house

soak: $(VENV)/.dev lab-packages ## Longer storms and crash runs than make test has time for
	@SOAK=1 $(BIN)/python -m pytest -q -rs tests/simulation tests/mover tests/lease tests/lab

lint: $(VENV)/.dev ## Types and style
	@$(BIN)/mypy
	@$(BIN)/ruff check

lock: $(VENV)/.dev ## Pin every dependency anew, with hashes
	@.ci/lock

clean: ## Remove what the other targets made here
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
