# make serve · browser · test · coverage · test-fast · test-hostile · lint · docs · smoke · export · package · deploy · deploy-job · rollback · release-check. MODEL and PORT choose what is served and where.
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

# A PYTHON that is named rebuilds the environment if it has another version.
ASKED := $(if $(filter file,$(origin PYTHON)),,yes)
# Three on two cores, because some tests wait for a host, a timeout or a server's start.
PROCESSES ?= 3
# By file: xdist 3.8 cannot group in another way beside pytest 9, and a module's fixtures cost much.
IN_PROCESSES = -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
# What takes more cases, larger models or real installs with --hostile.
CAMPAIGNS := tests/hostile tests/e2e/test_contract_campaign.py tests/e2e/test_serve_install.py \
	tests/test_tokenizer.py tests/test_json_tokenizer.py tests/test_torch_engine.py tests/test_library.py

.PHONY: help serve embed browser test coverage test-fast test-hostile lint format docs smoke export package deploy deploy-job rollback release-check bench bench-bulk bench-peers clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

serve: $(VENV)/$(if $(BUNDLED),.serve,.engine) ## serve MODEL on PORT, on this machine alone
	@echo "serving $(MODEL) on http://127.0.0.1:$(PORT)"
	CLIP_MODEL=$(MODEL) THREADS=64 $(BIN)/functions-framework --source main.py --target embed --host 127.0.0.1 --port $(PORT)

browser: $(VENV)/.dev ## install what the tests need of the machine: a browser, fonts, Node
	.ci/system $(BIN)/python

test: browser ## run the whole suite
	$(BIN)/python -m pytest $(IN_PROCESSES) -rs

coverage: browser ## run the whole suite and measure which lines and branches it reaches
	$(BIN)/python -m pytest $(IN_PROCESSES) --cov --cov-report=term -rs

test-fast: $(VENV)/.dev ## run what needs no server, no browser and no torch
	$(BIN)/python -m pytest --fast $(IN_PROCESSES)

test-hostile: $(VENV)/.dev ## run the campaigns of hostile input at full length, a few minutes
	$(BIN)/python -m pytest --hostile $(CAMPAIGNS)

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs ## build the documentation as a site, build/site, and check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html, or serve it with $(BIN)/python -m http.server --directory build/site"

smoke: $(VENV)/.serve ## check a running function: URL=… [IMAGE_URL=…] [TOKEN=… in the environment]
	$(BIN)/python -m tests.smoke $(or $(URL),http://127.0.0.1:$(PORT)) $(if $(IMAGE_URL),--image-url $(IMAGE_URL))

export: $(VENV)/.engine ## write the bundle weights/MODEL: [ARGS="--random-weights --precisions int8"]
	$(BIN)/python -m export $(MODEL) $(ARGS)

embed: $(VENV)/.bulk ## embed a corpus: INPUT=folder|file|gs://… OUTPUT=folder MODEL=clip [ARGS="--shard-rows 1000"]
	$(BIN)/python -m bulk embed "$(INPUT)" "$(OUTPUT)" --model $(MODEL) $(ARGS)

package: $(VENV)/.serve ## write build/function, what is deployed: MODEL=clip [ENGINE=torch] [PRECISION=fp32] [WEIGHTS_URI=gs://…] [STORAGE=1]
	$(BIN)/python -m deploy.package $(MODEL) $(if $(ENGINE),--engine $(ENGINE)) $(if $(PRECISION),--precision $(PRECISION)) \
		$(if $(WEIGHTS_URI),--weights-uri $(WEIGHTS_URI)) $(if $(STORAGE),--storage)

deploy: ## deploy with Cloud Build: PROJECT=… REGION=… MODEL=clip [NAME=…] [OPEN=1] [YES=1] [SET="_MIN_INSTANCES=1 …"]
	$(PYTHON) -m deploy.submit --project "$(PROJECT)" --region "$(REGION)" --model $(MODEL) $(if $(NAME),--name $(NAME)) \
		$(if $(OPEN),--open) $(if $(YES),--yes) $(SET)

deploy-job: $(VENV)/.serve ## deploy a job that embeds a corpus: PROJECT=… REGION=… MODEL=clip INPUT=gs://… OUTPUT=gs://… [NAME=…] [YES=1] [DRY=1] [ARGS="--tasks 50 --max-failures 1%"]
	$(BIN)/python -m deploy.job --project "$(PROJECT)" --region "$(REGION)" --model $(MODEL) --input "$(INPUT)" --output "$(OUTPUT)" \
		$(if $(NAME),--name $(NAME)) $(if $(YES),--yes) $(if $(DRY),--dry-run) $(ARGS)

rollback: ## give all traffic back to the revision before: PROJECT=… REGION=… [NAME=…]
	$(PYTHON) -m deploy.rollout rollback --project "$(PROJECT)" --region "$(REGION)" --name $(or $(NAME),clip-embeddings)

release-check: $(VENV)/.serve ## check that version, contract, changelog, docs and tag agree
	$(BIN)/python -m deploy.release_check

bench: $(VENV)/.dev ## compare with the design that this succeeds: MODEL=clip [QUICK=1]
	$(BIN)/python -m tests.benchmarks --model $(if $(filter demo,$(MODEL)),clip,$(MODEL)) $(if $(QUICK),--quick)

bench-bulk: $(VENV)/.dev build/peers/clip-retrieval/.installed ## compare bulk with clip-retrieval: [ARGS="--images 600"]
	$(if $(wildcard weights/clip/manifest.json),,$(BIN)/python -m export clip --random-weights --precisions int8)
	$(BIN)/python -m tests.benchmarks.bulk $(ARGS)
	$(BIN)/python -m tests.benchmarks.bulk_chart

PEERS ?= infinity sentence-transformers immich modern-onnx-clip openvino faster-clip
bench-peers: $(VENV)/.dev $(PEERS:%=build/peers/%/.installed) ## compare with other services and encoders: [PEERS="infinity immich"] [QUICK=1]
	$(BIN)/python -m tests.benchmarks.peers --peers $(PEERS) $(if $(QUICK),--quick)
	$(BIN)/python -m tests.benchmarks.peers.report

# Every peer sees the torch of this environment, which is a CPU build: pip would bring gigabytes of CUDA with another.
build/peers/%/.installed: tests/benchmarks/peers/%.txt | $(VENV)/.dev
	$(BIN)/python -m venv --clear $(@D)
	ln -s $(addprefix $(abspath $(VENV))/lib/python3.*/site-packages/,torch torch-*.dist-info torchgen functorch) $(@D)/lib/python3.*/site-packages
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

build/peers/clip-retrieval/.installed: tests/benchmarks/requirements-clip-retrieval.txt
	$(PYTHON) -m venv --clear $(@D)
	$(WITH_INDEX) $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(TORCH)
	$(WITH_INDEX) $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

clean: ## remove what was built
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .coverage

$(VENV)/.python: FORCE
	@.ci/environment $(VENV) $(PYTHON) $(ASKED)

FORCE:

$(VENV)/.serve: requirements-serve.txt constraints.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-serve.txt
	touch $@

$(VENV)/.bulk: $(VENV)/$(if $(BUNDLED),.serve,.engine) requirements-bulk.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bulk.txt
	touch $@

$(VENV)/.docs: requirements-docs.txt constraints.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

$(VENV)/.torch: $(VENV)/.serve
	$(WITH_INDEX) $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	touch $@

$(VENV)/.engine: $(VENV)/.torch requirements.txt
	$(WITH_INDEX) $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.engine requirements-dev.txt
	$(WITH_INDEX) $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
