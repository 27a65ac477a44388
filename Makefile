# Two commands do everything: `make run` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8000
AGENT_PORT ?= 8765
EXTRAS = agent,server,ml
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: run test lint viewer clean

run: $(STAMP)
	@exec $(BIN)/python manage.py up --port $(PORT) --agent-port $(AGENT_PORT) $(UP)

test: $(VENV)/.installed-test
	@tests/prepare.sh
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest $(PYTEST)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	study/viewer/check.sh

viewer:
	cd study/viewer && npm ci --no-audit --no-fund && npm run build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Gazeroom needs Python 3.11 or newer; name it: make run PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv"; exit 1; }

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Gazeroom into $(VENV); the first time this downloads about 600 MB …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Gazeroom and its test tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS),dev]"
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
