# make serve · browser · test · test-hostile · lint · smoke · export · package · deploy. MODEL and PORT choose what is served and where.
MODEL ?= demo
PORT ?= 8080
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0

# CPU wheels of torch, without gigabytes of CUDA, where their index answers at once.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
WITH_INDEX = if $(PYTHON) -c "import urllib.request as u; u.urlopen('$(TORCH_INDEX)/', timeout=2)" 2>/dev/null; \
	then export PIP_EXTRA_INDEX_URL="$$PIP_EXTRA_INDEX_URL $(TORCH_INDEX)"; fi;

# A bundle needs no torch: the demos ship theirs, `make export` writes others.
BUNDLED := $(filter demo demo-mclip,$(MODEL))$(wildcard weights/$(subst /,-,$(MODEL))/manifest.json)

# What the tests of the pages need of Debian: a browser, and fonts for what they show.
BROWSER := chromium fonts-noto-color-emoji fonts-wqy-zenhei
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help serve browser test test-hostile lint format smoke export package deploy bench clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

serve: $(VENV)/$(if $(BUNDLED),.serve,.engine) ## serve MODEL on PORT, on this machine alone
	CLIP_MODEL=$(MODEL) $(BIN)/functions-framework --source main.py --target embed --host 127.0.0.1 --port $(PORT)

browser: ## install what the tests of the pages need, on Debian
	dpkg -s $(BROWSER) >/dev/null 2>&1 || { $(AS_ROOT) apt-get update -qq && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends $(BROWSER) >/dev/null; }

test: $(VENV)/.dev ## run the whole suite, with coverage
	$(BIN)/python -m pytest --cov --cov-report=term

test-hostile: $(VENV)/.dev ## run the campaigns of hostile input at full length, a few minutes
	$(BIN)/python -m pytest tests/hostile --hostile

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(VENV)/.serve ## check a running function: URL=… [IMAGE_URL=…] [TOKEN=… in the environment]
	$(BIN)/python -m tests.smoke $(or $(URL),http://127.0.0.1:$(PORT)) $(if $(IMAGE_URL),--image-url $(IMAGE_URL))

export: $(VENV)/.engine ## write the bundle weights/MODEL: [ARGS="--random-weights --precisions int8"]
	$(BIN)/python -m export $(MODEL) $(ARGS)

package: $(VENV)/.serve ## write build/function, what is deployed: MODEL=clip [ENGINE=torch] [PRECISION=fp32] [WEIGHTS_URI=gs://…] [STORAGE=1]
	$(BIN)/python -m deploy.package $(MODEL) $(if $(ENGINE),--engine $(ENGINE)) $(if $(PRECISION),--precision $(PRECISION)) \
		$(if $(WEIGHTS_URI),--weights-uri $(WEIGHTS_URI)) $(if $(STORAGE),--storage)

deploy: ## deploy with Cloud Build: PROJECT=… REGION=… MODEL=clip [NAME=…] [YES=1] [SET="_MIN_INSTANCES=1 …"]
	$(PYTHON) -m deploy.submit --project "$(PROJECT)" --region "$(REGION)" --model $(MODEL) $(if $(NAME),--name $(NAME)) \
		$(if $(YES),--yes) $(SET)

bench: $(VENV)/.dev ## compare with the design that this succeeds: MODEL=clip [QUICK=1]
	$(BIN)/python -m tests.benchmarks --model $(if $(filter demo,$(MODEL)),clip,$(MODEL)) $(if $(QUICK),--quick)

clean: ## remove what was built
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .coverage

$(VENV)/.serve: requirements-serve.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-serve.txt
	touch $@

$(VENV)/.torch: $(VENV)/.serve
	$(WITH_INDEX) $(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	touch $@

$(VENV)/.engine: $(VENV)/.torch requirements.txt
	$(WITH_INDEX) $(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.engine requirements-dev.txt
	$(WITH_INDEX) $(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
