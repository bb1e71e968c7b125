# `make demo` goes from nothing to a report, `make test` from nothing to a test run: each sets up what it needs in
# .venv, and does nothing twice. Needs Python >= 3.11 and the package index; no root, no GPU, no system package.

BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

WORKERS ?= 3
REPEATS ?= 20
SEED ?= 1

.PHONY: demo mini test test-fast chaos bench lint clean

demo: .venv/.package
	@$(BIN)/factory run jobs/demo.yaml
	@$(BIN)/factory inspect out/demo

# Does such data help? The paper's Table 2 in miniature, from the embedded pack alone: some hours of two cores, and a page
# at the end. The same command goes on where it stopped. Smaller: make mini MINI="--set seeds=[0] --set steps=100".
MINI ?=
mini: .venv/.package
	@$(BIN)/python -c 'import h5py' 2>/dev/null || $(PIP) h5py
	@$(BIN)/factory experiment jobs/experiments/mini-table2.yaml $(MINI)

# Each file of tests runs in one of WORKERS processes, so that what a file sets up (a Ray, a server) is set up once; the
# files that take longest begin. The ten slowest tests are told at the end. On two cores three processes: many tests wait
# for other processes, for disks and for clocks.
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
test: .venv/.extras
	@$(PYTEST)

# For daily work: the tests that take little. Those that start processes, Ray or a training are marked `heavy`, most of
# them by tests/conftest.py, and left out.
test-fast: .venv/.extras
	@$(PYTEST) -m "not slow and not heavy"

# Faults at random moments, each so often, with a report: make chaos REPEATS=20 SEED=1 [FAULTS="node_lost actor_killed"]
chaos: .venv/.extras
	@$(BIN)/python -m tests.chaos --repeats $(REPEATS) --seed $(SEED) $(FAULTS)

bench: .venv/.extras
	@for script in tests/bench/[a-z]*.py; do $(BIN)/python -m tests.bench.$$(basename $$script .py) || exit 1; done

lint: .venv/.extras
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/codespell

clean:
	rm -rf .venv out/demo build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

.venv/.package: .venv/.pip pyproject.toml constraints.txt
	@echo "Installing the factory and PyTorch into .venv (some minutes, once)"
	@$(PIP) --editable .
	@touch $@

.venv/.extras: .venv/.package
	@echo "Installing what tests and lint need"
	@$(PIP) --editable '.[test,dev]'
	@touch $@

.venv/.pip:
	@test -n "$(PYTHON)" || { echo "Needs Python 3.11 or newer (found: $$(python3 --version 2>&1)); name one: make PYTHON=python3.12"; exit 1; }
	@if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then "$(PYTHON)" -m venv .venv; \
	else "$(PYTHON)" -m venv --without-pip .venv && $(BIN)/python -c "$$FETCH_PIP"; fi
	@touch $@

# Debian and Ubuntu split ensurepip into python3-venv. Without it pip's own wheel, taken from the index that pip would
# use and checked against its digest, installs itself.
define FETCH_PIP
import configparser, hashlib, os, pathlib, re, subprocess, sys, tempfile, urllib.parse, urllib.request
WHEEL, SHA256 = "pip-26.3-py3-none-any.whl", "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
conf = configparser.RawConfigParser()
conf.read(["/etc/pip.conf", os.path.expanduser("~/.pip/pip.conf"), os.path.expanduser("~/.config/pip/pip.conf"),
           os.environ.get("PIP_CONFIG_FILE", "")])
index = os.environ.get("PIP_INDEX_URL") or conf.get("global", "index-url", fallback="https://pypi.org/simple")
page = index.rstrip("/") + "/pip/"
links = re.findall(r'href="([^"#]+)', urllib.request.urlopen(page).read().decode())
link = next(link for link in links if link.endswith(WHEEL))
data = urllib.request.urlopen(urllib.parse.urljoin(page, link)).read()
if hashlib.sha256(data).hexdigest() != SHA256:
    sys.exit(f"{WHEEL} from {page} is not the file it should be")
with tempfile.TemporaryDirectory() as folder:
    wheel = pathlib.Path(folder, WHEEL)
    wheel.write_bytes(data)
    command = [sys.executable, f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel)]
    sys.exit(subprocess.run(command).returncode)
endef
export FETCH_PIP
