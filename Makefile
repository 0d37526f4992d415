# `make help` lists the targets. They need Python 3.11 or newer and access to a package registry.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8866
BIN := .venv/bin
UV := $(BIN)/uv pip
REQUIREMENTS := requirements-all.txt

# These variables reach notebooks/run.py through the environment, unchanged: neither make nor the shell expands them.
TYPED := SOURCE PHOTOS LABELS OTHERS EPOCHS WEIGHTS ARGS
$(foreach v,$(TYPED) TITLE,$(eval export TYPED_$v := $$(value $v)))
unexport $(TYPED) TITLE  # else make expands them, $(shell ...) included
# Without this check, make would ignore a misspelt variable. (The make that trains for `make site` gets the TITLE, too.)
UNKNOWN := $(filter-out $(TYPED) PYTHON PORT SHELL UV_%,$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v)))
ifneq ($(and $(filter 0,$(MAKELEVEL)),$(filter train review,$(MAKECMDGOALS)),$(UNKNOWN)),)
$(error Unknown variable $(UNKNOWN). The variables are $(TYPED))
endif

# Never train over a model: one without export.onnx works too, and the commands say what they need.
HAVE_MODEL = test -f export/export.pkl -o -f export/export.onnx || $(MAKE) --no-print-directory train

.PHONY: help app site train review test bench runtime lock notebooks clean
help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

app: .venv/ready ## serve the page at http://localhost:8866 (PORT=...), training on the sample first where there is no model
	@$(BIN)/python -m icon_classifier.server.port "$(PORT)"
	@+$(HAVE_MODEL)
	@echo "The page: http://localhost:$(PORT) (Ctrl-C ends it)"
	@$(BIN)/voila notebooks/icon_classifier.ipynb --port=$(PORT) --no-browser

site: .venv/ready ## write the page as static files in export/site, and serve them at http://localhost:8866 (PORT=... TITLE="...")
	@$(BIN)/python -m icon_classifier.server.port "$(PORT)"
	@+$(HAVE_MODEL)
	@$(BIN)/icon-classifier site --title="$$TYPED_TITLE"
	@echo "The page: http://localhost:$(PORT) (Ctrl-C ends it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory export/site "$(PORT)" 2> /dev/null

train: .venv/ready ## run train.ipynb: SOURCE=sample|search|folder|path PHOTOS=folder LABELS="a, b" OTHERS=folder EPOCHS=n WEIGHTS=file ARGS="-p size 128"
	@$(BIN)/python notebooks/run.py

review: .venv/ready ## look at the most suspicious photos first, and keep, exclude or relabel them: PHOTOS=folder (or sample)
	@PORT="$(PORT)" $(BIN)/python notebooks/review.py

test: .venv/ready .venv-page/ready ## run every check, the page in a real Chromium included
	@$(BIN)/python tests/support/binaries.py
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The environments. requirements-all.txt is for authors and pins ipywidgets 7 (fastbook does); requirements.txt is
# what a host installs for the page, with ipywidgets 8. uv installs them in a quarter of pip's time.
.venv/ready: requirements-all.txt
.venv-page/ready: REQUIREMENTS := requirements.txt
.venv-page/ready: BIN := .venv-page/bin
.venv-page/ready: requirements.txt
.venv/ready .venv-page/ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which: make PYTHON=python3.12")'
	@echo "Making the environment $(@D) from $(REQUIREMENTS): 1 to 4 minutes"
	@$(PYTHON) -m venv --clear $(@D)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-all.txt uv
	@set -o pipefail; $(UV) install --compile-bytecode --python $(BIN)/python --requirement $(REQUIREMENTS) $(if $(filter .venv,$(@D)),--editable .) \
	  2>&1 | grep --line-buffered -vE '^ [-+~] '
	@touch $@

bench: .venv/ready .venv-page/ready ## print what the ONNX model, the training loop, the forked kernels and the static page save or cost, each beside its counterpart
	@+$(HAVE_MODEL)
	@PYTHONWARNINGS=ignore $(BIN)/python benchmarks/prediction.py
	@PYTHONWARNINGS=ignore $(BIN)/python benchmarks/training.py
	@$(BIN)/python benchmarks/serving.py
	@$(BIN)/python benchmarks/site.py

lock: .venv/ready ## compile the pins from pyproject.toml again
	$(UV) compile pyproject.toml --extra heic --universal --python-version 3.11 --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements.txt
	$(UV) compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements-all.txt

runtime: .venv/ready ## make the static page's runtime again from npm's package, and compare it with the vendored one
	@$(BIN)/python -m icon_classifier.site.vendor

notebooks: .venv/ready ## export the chapters, run all notebooks again and keep their outputs; the lesson's model is left in .run/lesson
	$(BIN)/nbdev-export
	PATH=$(BIN):$$PATH $(BIN)/nbdev-test --n-workers 1 --save notebooks/library
	rm -rf .run/lesson && mkdir -p .run/lesson && cp notebooks/train.ipynb .run/lesson
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=300 .run/lesson/train.ipynb
	cp .run/lesson/train.ipynb notebooks
	$(BIN)/python notebooks/tidy.py
	$(BIN)/nbdev-clean --fname notebooks

clean: ## remove the environments and what runs have left; photos and export stay
	rm -rf .venv .venv-page .run build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
