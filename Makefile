PYTHON ?= python

.DEFAULT_GOAL := help
.PHONY: help test lint types format check bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test: ## run the tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --basetemp "$$(mktemp -d)/t"

lint: ## check style and formatting
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: ## check types, strictly
	$(PYTHON) -m mypy -p vlm_tokencost

format: ## repair what the linter can repair, and format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

check: lint types test ## all that CI asks of a change

bench: ## time the command against the floor program
	$(PYTHON) benchmarks/startup.py
