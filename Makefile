# `make reproduce` and `make test` need only Python >= 3.11 and make: both set up `.venv` first.

PYTHON ?= python3
PRESET ?= quick
RESULTS ?= results
STUDIES = bandit online sft rmft
# At toy size the checks run with few samples; the tests run them too.
THEORY = $(if $(filter toy,$(PRESET)),L1 L2 --samples 10)
BIN = .venv/bin

.PHONY: reproduce test language speed lint clean

reproduce: .venv/installed
	@echo "jaxdm: the $(PRESET) preset of $(STUDIES), then the theorem checks; the report grows with each"
	@for study in $(STUDIES); do \
		$(BIN)/python -m experiments.$$study $(PRESET) --results $(RESULTS) || exit 1; \
		$(BIN)/python -m figures --results $(RESULTS) || exit 1; \
	done; \
	$(BIN)/python -m theory $(THEORY) --results $(RESULTS); checked=$$?; \
	$(BIN)/python -m figures --results $(RESULTS) && exit $$checked

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist worksteal

language: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[language]'
	$(BIN)/python -m experiments.language.checkpoint
	$(BIN)/python -m pytest tests/language -rs

speed: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[peers]'
	$(BIN)/python -m experiments.speed --results $(RESULTS)

lint: .venv/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[lint]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/installed: pyproject.toml constraints.txt
	@echo "jaxdm: setting up .venv (about two minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf .venv results
