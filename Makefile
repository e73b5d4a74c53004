## make demo       set up, train AlexNet on handwritten digits, evaluate it, predict a few
## make test       set up what tests need, and run all but the slow ones
## make check      the linters, the type checker, the layers, and all tests: what CI runs
## make bench      measure everything and write docs/results.md's table; RUNS=3 measures three times
## make install    make .venv with the alexnet command in .venv/bin, nothing more
## make wheel      build an sdist and, from it, a wheel with the kernels into dist/
## make lock       write requirements/*.txt anew from pyproject.toml; UPGRADE=1 takes the newest versions
## make clean      remove .venv and every cache
##
## PYTHON=...      the Python (3.11.4 or newer) that .venv is made of; python3 unless said
## TORCH=cpu       PyTorch's CPU build, smaller by gigabytes, from PyTorch's own index; kept until `make clean`

PYTHON ?= python3
HELD := $(shell cat .venv/.torch 2>/dev/null)
TORCH ?= $(or $(HELD),default)
BIN := .venv/bin

# Locks are complete, so nothing is resolved; every package is a wheel, so that no compiler is needed.
INSTALL := $(BIN)/uv pip install --python $(BIN)/python --no-deps
LOCKED := $(INSTALL) --only-binary :all: --require-hashes
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --only-binary :all: \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(if $(UPGRADE),--upgrade)

# uv does not read pip's settings: hand on the mirror of a machine that has one.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

ifeq ($(filter $(TORCH),default cpu),)
$(error TORCH is '$(TORCH)'; it takes 'cpu', or 'default' for the registry's own build)
endif
ifneq ($(TORCH),$(or $(HELD),$(TORCH)))
ifneq ($(MAKECMDGOALS),clean)
$(error .venv holds TORCH=$(HELD); run 'make clean' before taking TORCH=$(TORCH))
endif
endif

.NOTPARALLEL:
.PHONY: help install demo test lint check bench wheel lock clean

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

install: .venv/.package

demo: install
	@$(BIN)/alexnet demo

# A worker a core, each with one thread; the tests of a file stay together, for they share runs.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) --dist loadfile

test: install .venv/.test
	$(PYTEST) -m "not slow"

lint: install .venv/.test .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test
	$(PYTEST) -m slow

bench: install
	$(BIN)/python tools/write_results.py --runs $(or $(RUNS),1)

# The builder comes from requirements/install.txt: nothing is downloaded.
wheel: .venv/.tools
	$(BIN)/uv build --quiet --offline --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls -1 dist/alexnet-*

# Stamps: each step runs again only when what it was made from has changed.

.venv/.tools: requirements/install.txt
	@command -v $(PYTHON) >/dev/null || { echo "alexnet needs Python 3.11.4 or newer, and there is no $(PYTHON) here; install it, or name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("alexnet needs Python 3.11.4 or newer, and $(PYTHON) is %d.%d.%d; name a newer one: make PYTHON=..." % sys.version_info[:3] if sys.version_info < (3, 11, 4) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

.venv/.run: .venv/.tools requirements/run.txt
	@echo $(TORCH) > .venv/.torch
	$(call install_$(TORCH),run)
	@touch $@

# Install the lock requirements/$(1).txt.
define install_default
$(LOCKED) -r requirements/$(1).txt
endef

# The CPU builds' files are not the registry's, so torch and torchvision are pinned by version and the rest by hash.
define install_cpu
awk '/^[^ ]/ { keep = !/^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/ } keep' requirements/$(1).txt > .venv/$(1)-cpu.txt
awk '/^(torch|torchvision)==/ { sub(/ *\\$$/, ""); print }' requirements/$(1).txt > .venv/$(1)-torch.txt
@[ ! -s .venv/$(1)-torch.txt ] || $(INSTALL) --only-binary :all: --torch-backend cpu -r .venv/$(1)-torch.txt || { echo "alexnet: TORCH=cpu needs PyTorch's own package index, which did not answer or lacks this version (see above); without it, run: make clean && make install" >&2; exit 1; }
$(LOCKED) -r .venv/$(1)-cpu.txt
endef

# The builder is in .venv already, so that an editable install asks nothing of the network. It compiles the kernels
# where it finds a compiler; without one the install goes on, and the program says what it lacks when that matters.
.venv/.package: .venv/.run pyproject.toml hatch_build.py $(wildcard src/alexnet/ops/native/*.py src/alexnet/ops/native/*.h src/alexnet/ops/native/*.cpp)
	$(INSTALL) --offline --no-build-isolation --editable .
	@touch $@
	@if [ -f src/alexnet/ops/native/not-built.txt ]; then echo "alexnet: plain torch only, several times slower: $$(cat src/alexnet/ops/native/not-built.txt)" >&2; fi
	@echo "the command is ready: $(BIN)/alexnet"

.venv/.test .venv/.lint: .venv/.%: .venv/.run requirements/%.txt
	$(call install_$(TORCH),$*)
	@touch $@

# Each lock is constrained by those before it, because all of them meet in one .venv.
lock: .venv/.tools
	$(COMPILE) pyproject.toml -o requirements/run.txt
	printf 'uv\nhatchling\neditables\n' | $(COMPILE) - -c requirements/run.txt -o requirements/install.txt
	$(COMPILE) --group test -c requirements/run.txt -c requirements/install.txt -o requirements/test.txt
	$(COMPILE) --group lint -c requirements/run.txt -c requirements/install.txt -c requirements/test.txt -o requirements/lint.txt

clean:
	rm -rf src/alexnet/ops/native/kernels.* src/alexnet/ops/native/not-built.txt .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests examples -name __pycache__ -prune -exec rm -rf {} +
