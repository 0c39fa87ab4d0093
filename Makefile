# Petridish. `make run` starts everything, `make test` checks everything.
UV_VERSION := 0.13.9
# A `uv` that answers is used as it is; else one is fetched into .uv/ with pip.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
PY := .venv/bin/python
PYTEST_ARGS ?= -n 2

.PHONY: run test test-cluster setup format lint pins clean
.DEFAULT_GOAL := run

run: .venv/ready
	@exec $(PY) -m portal.run

test: .venv/ready
	@.ci/checks
	@$(PY) -m pytest $(PYTEST_ARGS)

test-cluster: .venv/ready
	PETRIDISH_TEST_CLUSTER=1 PETRIDISH_TEST_IMAGE=$(WORKSPACE_IMAGE) PETRIDISH_TEST_CONTEXT=$(KUBE_CONTEXT) \
	  $(PY) -m pytest -m cluster tests/cluster

setup: .venv/ready

# The first Python that can make an environment: a version manager's `python3` may point at one that is not there.
.uv/bin/uv:
	@for python in python3 python3.14 python3.13 python3.12 /usr/bin/python3; do \
	  $$python -m venv .uv >/dev/null 2>&1 && break; \
	done; \
	.uv/bin/python -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION) \
	  || { rm -rf .uv; echo "Petridish needs uv, or Python 3 with venv and pip (Debian: apt-get install python3-venv)." >&2; exit 1; }

# One file says the environment is whole; a half-made one is made again.
# 3.13 is what we develop on; where it neither is nor can be fetched, any from 3.12 on does.
.venv/ready: pyproject.toml .python-version $(filter .uv/%,$(UV))
	@$(UV) sync --quiet 2>/dev/null || $(UV) sync --quiet --python '>=3.12'
	@touch $@

format: .venv/ready
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

lint: .venv/ready
	.ci/checks

pins: .venv/ready
	@$(PY) .ci/pins.py $(UV)

clean:
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache uv.lock
