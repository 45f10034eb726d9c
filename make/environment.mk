##@ Environment

# Python versions in the order of how well they were tried; each is asked whether it is new enough, for
# a name may be a shim that does not run. A .venv that was broken (moved, half made) is made anew.
# PYTHON3 names another: make venv PYTHON3=python3.13. A .venv of another version is then made anew.
PYTHON3 ?=
VERSION := import sys; print(sys.version_info[:2])
OTHER := $(if $(PYTHON3),$(shell [ "$$($(VENV)/bin/python -c '$(VERSION)' 2>&1)" = \
  "$$($(PYTHON3) -c '$(VERSION)' 2>&1)" ] || echo other))
define FIND_PYTHON
python=; \
for candidate in $(or $(PYTHON3),python3.11 python3.12 python3.13 python3 python); do \
  if "$$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then \
    python=$$candidate; break; \
  fi; \
done; \
if [ -z "$$python" ]; then \
  found=$$("$(or $(PYTHON3),python3)" --version 2>/dev/null || echo none); \
  echo "AVIX needs Python 3.11 or newer, and found $$found." >&2; \
  echo "Name one: make venv PYTHON3=python3.13, or PYTHON=/path/to/python with its packages." >&2; \
  exit 1; \
fi
endef

.PHONY: $(if $(OTHER),$(VENV)/.installed)
$(VENV)/.installed: requirements.txt
	@if [ -n "$(OTHER)" ] || ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing the packages of requirements.txt into $(VENV) (some minutes the first time)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	@touch $@

venv environment: $(READY) ## Make .venv and install, where it is missing or older than requirements.txt
	@echo "$(PYTHON): $$($(PYTHON) --version)"

a activate: ## Print the command that activates .venv in your shell
	@echo ". $(VENV)/bin/activate"

d deactivate: ## Print the command that leaves it
	@echo "deactivate"
