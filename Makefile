# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test check docs benchmark lock verified wheelhouse clean

demo: $(VENV)/installed  ## photographs in, three trained layers and a report out
	$(BIN)/yfccdask demo $(if $(IMAGES),--images $(IMAGES)) $(if $(WORKERS),--workers $(WORKERS)) \
	  $(if $(RUN),--run $(RUN)) $(if $(DATA),--data $(DATA))

test: $(VENV)/installed-test  ## the fast suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST)

check: $(VENV)/installed-dev  ## style, types and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed-dev  ## the pages as a site: docs/_build/index.html
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build

lock: $(VENV)/installed  ## constraints-hashes.txt, anew from pyproject.toml and constraints.txt
	$(PIP) install uv
	echo 'setuptools>=77' | $(BIN)/uv pip compile -q pyproject.toml - -o constraints-hashes.txt \
	  $(foreach extra,test dev jupyter slurm cuda13,--extra $(extra)) -c constraints.txt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

verified: $(BIN)/python  ## install with every hash checked: make verified EXTRAS=s3,jupyter
	$(PIP) install --upgrade 'pip>=26'
	rm -rf build dist
	echo setuptools | $(PIP) install --require-hashes -c constraints-hashes.txt -r /dev/stdin
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	echo "yfccdask[$(EXTRAS)] @ file://$$PWD/$$(ls dist/*.whl) \
	  --hash=sha256:$$(sha256sum dist/*.whl | cut -c 1-64)" > dist/own.txt
	$(PIP) install --require-hashes -c constraints-hashes.txt -r dist/own.txt

wheelhouse: $(VENV)/installed  ## wheelhouse/: all that a GPU node without a network needs
	rm -rf wheelhouse
	$(BIN)/python cluster/wheelhouse.py wheelhouse $(if $(NODE),--node $(NODE))

benchmark: $(VENV)/installed  ## does it learn edges? (half an hour)
	$(BIN)/python -m benchmarks.edges

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "expected Python 3.11 or newer as $(PYTHON): name another one, make demo PYTHON=python3.12"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-run demo-data
