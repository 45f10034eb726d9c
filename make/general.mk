##@ General

h help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9_ -]+:.*## / { \
	    if (length($$1) > 40) { printf "  %s \n", $$1; $$1 = "" } \
	    printf "  %-40s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lc list-configs: ## The names that each config group offers
	@for group in configs/*/; do \
	  names=$$(ls $$group | grep -v '^_' | sed -n 's/\.yaml$$//p' | tr '\n' ' '); \
	  if [ -n "$$names" ]; then echo "$$(basename $$group): $$names"; fi; \
	done

f format: $(READY) ## Format the code and fix what ruff can fix
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

s sync: ## Fetch, and merge main into the current branch
	git pull
	git pull origin main

c clean: ## Remove caches and build folders
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

cd clean-data: ## Remove all data sets under data-vimh/
	@find data-vimh -mindepth 1 -maxdepth 1 -not -name .gitkeep -exec rm -rf {} +

cl clean-logs: ## Remove all runs under logs/
	@rm -rf logs

##@ Checks

# Two workers with one thread each: faster on two cores than one worker with two.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 -q

DOCS_PACKAGES := mkdocs-material==9.8.2 "mkdocstrings[python]==1.0.8"

t test: $(READY) ## The fast tests
	@$(PYTEST) -m "not slow" $(ARGS)

ta test-all: $(READY) ## All tests, the slow ones too
	@$(PYTEST) --ignore=tests/faults --ignore=tests/cluster $(ARGS)
	@$(PYTEST) tests/faults $(ARGS) # apart: they fork, which a process that has trained cannot
	@$(MAKE) --no-print-directory test-cluster

tcl test-cluster: $(READY) ## Jobs on a SLURM and a PostgreSQL that it starts, where they are installed (docs/cluster.md)
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -m cluster tests/cluster $(ARGS)

lint: $(READY)
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) scripts/makefile_docs.py --check

ck check: lint test ## What CI runs: format, lint, types, docs, fast tests

# Types are checked in `make test`; here they would only cost time.
fz fuzz: $(READY) ## Read 200,000 damaged files and wrong values; each must end in one of our errors (ten minutes)
	@AVIX_FUZZ=13000 JAXTYPING_DISABLE=1 $(PYTEST) --hypothesis-show-statistics \
	  tests/fuzz tests/vimh/test_fuzz.py tests/vimh/test_value_files.py $(ARGS)

fa faults: $(READY) ## Kill at 100 moments each while generating, importing, training and saving (half an hour)
	@AVIX_FAULTS=100 $(PYTEST) tests/faults $(ARGS)

so soak: $(READY) ## Train for an hour: memory, open files and logs have to stay flat (ARGS="--minutes 10")
	@$(RUN) -m tests.faults.soak $(ARGS)

b bench: $(READY) ## Measure the performance budgets: table and benchmarks/results.json (ARGS=--quick: 2 min)
	@$(RUN) benchmarks/run.py $(ARGS)

gpc gpu-check: $(READY) ## Everything on the GPU: tests, trainings, speed, docs/gpu.json; without one its short form on the CPU
	@$(RUN) benchmarks/gpu_check.py $(ARGS)

sca scaling: $(READY) ## Training from 1,000 to a million samples, memory, parts of a step: a plot (half an hour, 4 GB)
	@$(RUN) benchmarks/scaling.py $(ARGS)

# Its packages are no part of training: they are installed where they are missing.
do docs: $(READY) ## The documentation as a site, with a reference of src/: site/index.html
	@$(PYTHON) -c "import material, mkdocstrings_handlers.python" 2>/dev/null || \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(DOCS_PACKAGES)
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet
	@echo "The documentation: site/index.html (with search: $(PYTHON) -m http.server --directory site)"

# examples/web with onnxruntime-web from npm; nothing but this machine reaches the server.
WEB_PORT ?= 8000
w web: $(READY) ## A page that reads sounds in the browser, on 127.0.0.1 (WEB_PORT=8000)
	@$(PYTHON) -c "import socket, sys; sys.exit(not socket.socket().connect_ex(('127.0.0.1', $(WEB_PORT))))" || \
	  { echo "error: something answers at port $(WEB_PORT) already; make web WEB_PORT=8001 takes another"; exit 1; }
	@command -v npm >/dev/null || { echo "error: make web needs npm, which comes with Node.js"; exit 1; }
	@npm ci --prefix examples/web --no-audit --no-fund --silent
	@echo "http://127.0.0.1:$(WEB_PORT)/web/ (Ctrl-C ends it)"
	@$(PYTHON) -m http.server $(WEB_PORT) --bind 127.0.0.1 --directory examples

md makefile-docs: $(READY) ## Write docs/makefile.md from the Makefile
	@$(PYTHON) scripts/makefile_docs.py

##@ TensorBoard

# $(call tensorboard,folder,port): in the foreground; not started twice
define tensorboard
@if $(PYTHON) -c "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.1', $(2))))"; then \
  echo "TensorBoard (or something else) already answers at http://localhost:$(2)"; \
else \
  $(PYTHON) -m tensorboard.main --logdir $(1) --port $(2); \
fi
endef

tb tensorboard: $(READY) ## TensorBoard on all of logs/, port 6006
	$(call tensorboard,logs,6006)

tbr tensorboard-runs: $(READY) ## TensorBoard on logs/train/runs, port 6007
	$(call tensorboard,logs/train/runs,6007)

tbmr tensorboard-multiruns: $(READY) ## TensorBoard on logs/train/multiruns, port 6008
	$(call tensorboard,logs/train/multiruns,6008)
