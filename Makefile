# What a person does with this checkout; `make help` lists it. The steps themselves are in scripts/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
# QGIS needs the system's Python first on PATH, and none of another GDAL's data.
QGIS_ENV := env -u PROJ_LIB -u PROJ_DATA -u GDAL_DATA -u PYTHONPATH -u PYTHONHOME PATH="/usr/bin:$$PATH" \
	XDG_RUNTIME_DIR="$${XDG_RUNTIME_DIR:-$$PWD/build/runtime}" S2CHANGE_PYTHON="$$PWD/.venv/bin/python"

.PHONY: help setup run test test-engine test-qgis lint plugin package qgis bench clean
# Recipes see these as they were given: paths may hold spaces.
export BEFORE AFTER BEFORE_BANDS AFTER_BANDS BEFORE_UNITS AFTER_UNITS MODEL THRESHOLD EXTENT OUT

help:  ## list what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "make run BEFORE=… AFTER=… [OUT=folder] [BEFORE_BANDS=B02,…] [AFTER_BANDS=…] [BEFORE_UNITS=…] [AFTER_UNITS=…] [EXTENT=west,east,south,north] [MODEL=…] [THRESHOLD=…]"
	@echo "make package WEIGHTS=no leaves the non-commercially licensed weights out"

setup:  ## install QGIS and make both environments, where missing
	@scripts/setup.sh qgis engine qgis-tests

run:  ## the change map of the sample pair, or of BEFORE and AFTER, through QGIS
	@scripts/setup.sh qgis engine
	@$(MAKE) plugin runtime
	@$(QGIS_ENV) $(PYTHON) scripts/run.py

test: setup  ## all tests
	@$(MAKE) --keep-going test-engine test-qgis

test-engine: plugin
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 tests/engine tests/training tests/test_architecture.py

test-qgis: plugin runtime
	@$(QGIS_ENV) QT_QPA_PLATFORM=offscreen .venv-qgis/bin/python -m pytest -q tests/qgis tests/test_package.py

lint:  ## ruff, mypy strict, and on what ships bandit and detect-secrets
	@scripts/setup.sh engine
	@$(MAKE) plugin
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m bandit -q -r build/plugin/s2change_plugin
	@find build/plugin -type f -print0 | xargs -0 .venv/bin/detect-secrets-hook --no-verify

plugin:  ## lay what ships in build/plugin/s2change_plugin
	@/usr/bin/python3 scripts/package.py stage

package:  ## the zip for the plugin site, in build/
	@/usr/bin/python3 scripts/package.py zip $(if $(filter no,$(WEIGHTS)),--without-weights)

qgis:  ## open QGIS with the plugin from this checkout
	@[ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" ] || { echo "There is no display to open QGIS on. On a server: xvfb-run -a make qgis" >&2; exit 1; }
	@scripts/setup.sh qgis engine
	@$(MAKE) plugin runtime
	@mkdir -p build/profile
	@# Enabling a second time is an error to qgis_process; one that cannot be loaded QGIS shows itself.
	@QGIS_PLUGINPATH="$$PWD/build/plugin" QGIS_CUSTOM_CONFIG_PATH="$$PWD/build/profile" \
		$(QGIS_ENV) QT_QPA_PLATFORM=offscreen qgis_process plugins enable s2change_plugin >/dev/null 2>&1 || true
	@QGIS_PLUGINPATH="$$PWD/build/plugin" QGIS_CUSTOM_CONFIG_PATH="$$PWD/build/profile" $(QGIS_ENV) qgis

bench:  ## measure a whole tile, and write docs/BENCHMARK.md; the first call makes the pair
	@scripts/setup.sh engine
	@$(PYTHON) -m training.bench

.PHONY: runtime
runtime:
	@mkdir -p build/runtime && chmod 700 build/runtime

clean:  ## remove what was made, but the environments
	@rm -rf build
