# Everything runs through here; a machine needs python3 (3.11 or later), make and git.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON  ?= python3
WORKERS ?= 3
TOOLS   := $(CURDIR)/.tools
VENV    := $(CURDIR)/.venv
UV      := $(TOOLS)/bin/uv
BIN     := $(VENV)/bin
CHARTS  := $(filter-out charts/kubernaut-common,$(patsubst %/Chart.yaml,%,$(wildcard charts/*/Chart.yaml)))
DOCKER  ?= docker
VERSION ?= 0.1.0
PYTHON_IMAGE ?=
PYTEST  := $(BIN)/python -m pytest -m "not faults_full"

export PATH := $(BIN):$(TOOLS)/bin:$(PATH)

##@ General
.PHONY: help
help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-28s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.synced ## make the virtual environment from the lock file

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cannot go on: $(PYTHON) is older than 3.11; set PYTHON=/path/to/python3.11 or later" >&2; exit 1; }
	@$(PYTHON) -m venv $(TOOLS) || { echo "cannot make a virtual environment: install the venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'

$(VENV)/.synced: $(UV) uv.lock pyproject.toml $(wildcard packages/*/pyproject.toml services/*/pyproject.toml)
	@$(UV) sync --quiet --locked --python $(PYTHON)
	@touch $@

.PHONY: control-plane
control-plane: install ## find or build the Kubernetes programs of the tests, once (minutes when built)
	@$(BIN)/kubernaut-testing fetch

##@ Use
.PHONY: demo
demo: install ## every service at work on a control plane of its own (KEEP=1 stays up, CONTEXT=name uses a cluster)
	@$(BIN)/python -m demo $(if $(KEEP),--keep) $(if $(CONTEXT),--context '$(CONTEXT)')

##@ Test
.PHONY: test
test: control-plane ## all tests; what CI runs
	$(PYTEST) -n $(WORKERS) --dist loadfile

.PHONY: test-status test-api test-policy test-runtime test-testing test-notification test-signalprocessing
test-status: control-plane ## the status package
	$(PYTEST) packages/kubernaut-status
test-api: control-plane ## the resource models and CRDs
	$(PYTEST) packages/kubernaut-api
test-policy: install ## the policy package and every policy of the repository, against OPA itself (built once, minutes)
	@$(BIN)/kubernaut-testing fetch opa
	$(PYTEST) packages/kubernaut-policy tests/test_policies.py tests/test_policy_cookbook.py
test-runtime: control-plane ## the runtime
	$(PYTEST) packages/kubernaut-runtime
test-testing: control-plane ## the testing package
	$(PYTEST) packages/kubernaut-testing
test-notification: control-plane ## the Notification service, with its faults and crash points
	$(PYTEST) services/notification
test-signalprocessing: control-plane ## the SignalProcessing service
	$(PYTEST) services/signalprocessing

.PHONY: test-charts
test-charts: control-plane ## the charts: rendered, checked, installed into a cluster; and the image's build
	$(PYTEST) tests/charts

.PHONY: test-e2e-notification
test-e2e-notification: control-plane ## the Notification operator as a process, end to end
	$(BIN)/python -m pytest -m "e2e and not faults_full" services/notification

.PHONY: test-e2e-signalprocessing
test-e2e-signalprocessing: control-plane ## the SignalProcessing operator as a process, end to end
	$(BIN)/python -m pytest -m "e2e and not faults_full" services/signalprocessing

.PHONY: behaviours-notification behaviours-signalprocessing
behaviours-notification: install ## which tests show which behaviour of the Notification service's catalogue
	$(BIN)/python tests/behaviours.py services/notification --list
behaviours-signalprocessing: install ## the same of the SignalProcessing service, with weak points
	$(BIN)/python tests/behaviours.py services/signalprocessing --list

.PHONY: test-observability
test-observability: control-plane ## alerts by promtool, the dashboard and the metrics' page against a real Prometheus
	$(PYTEST) tests/observability packages/kubernaut-testing/tests/test_prometheus.py

.PHONY: test-faults-full
test-faults-full: control-plane ## faults at production times (many minutes)
	$(BIN)/python -m pytest -m faults_full

.PHONY: bench
bench: control-plane ## all loads, atomic against sequential (about 55 minutes; LOAD=burst, LOAD=signals for one); rewrites docs/benchmarks.md
	$(BIN)/python -m benchmarks $(if $(LOAD),--load $(LOAD)) --report docs/benchmarks.md

.PHONY: coverage
coverage: control-plane ## tests with line and branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not faults_full"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --skip-empty

##@ Check
.PHONY: lint
lint: install ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy packages/*/src services/*/src scenarios demo benchmarks monitoring charts/generate.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint services/Dockerfile
	$(MAKE) --no-print-directory chart-lint

.PHONY: chart-lint
chart-lint: install ## the charts, by helm
	@for chart in $(CHARTS); do $(BIN)/python -m kubernaut_testing.helm lint --strict $$chart || exit 1; done

.PHONY: format
format: install ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: verify-crds verify-charts verify-lock verify
verify: verify-crds verify-charts verify-lock ## everything generated is up to date
verify-crds: install ## the CRDs are those that the models generate
	$(BIN)/python -m kubernaut_api.crds --check
verify-charts: install ## the charts repeat library, CRDs, config keys, values, alerts and dashboards as they are
	$(BIN)/python -m charts.generate --check
verify-lock: install ## the lock file is that of the pyproject files
	$(UV) lock --check

##@ Build
.PHONY: crds
crds: install ## generate the CRDs from the models
	$(BIN)/python -m kubernaut_api.crds

.PHONY: charts
charts: install ## generate the repeated parts of the charts
	@$(BIN)/python -m charts.generate

.PHONY: image
image: REVISION = $(or $(shell git describe --always --dirty --abbrev=40 --exclude="*" 2>/dev/null),unknown)
image: ## container images of all services, by docker (DOCKER=podman; PYTHON_IMAGE=name@digest for another base)
	@for service in $(notdir $(CHARTS)); do \
	  $(DOCKER) build --file services/Dockerfile --tag kubernaut-$$service:$(VERSION) \
	    --build-arg SERVICE=$$service --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	    $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) . || exit 1; done

.PHONY: build
build: install ## wheels of all members, into dist/
	$(UV) build --quiet --all-packages --wheel --out-dir dist

.PHONY: clean
clean: ## remove environments and caches of this checkout
	rm -rf .venv .tools dist .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage*
