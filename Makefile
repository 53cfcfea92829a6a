# `make` lists the targets. Everything runs from .venv, which is made on first use; nothing needs root or Docker.
# Any setting can be given on the line: `make run WEB_PORT=9080`.

PYTHON ?= python3
LOCAL := .venv/bin/python -m messaging_project.local
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
PIP_INSTALL := .venv/bin/python -m pip install --disable-pip-version-check

# What a production machine would set, so that `check --deploy` looks at that and at nobody's own settings.
PRODUCTION := ENV_FILE=/dev/null VAR_DIR=/nonexistent DEBUG=false PUBLIC_URL=https://switchboard.example.com \
	DATABASE_URL=postgres://switchboard@127.0.0.1:9/switchboard REDIS_URL=redis://127.0.0.1:9/0 \
	SECRET_KEY=$$(.venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(50))')

.DEFAULT_GOAL := help
.PHONY: help install run run-bg stop restart-app stop-worker start-worker worker logs demo seed-demo \
	verify-redis-queue compose-by-hand reset test drill drill-short bench bench-short fuzz fuzz-short check lock sbom

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED_DEV) ## make .venv and install everything; the other targets do it by themselves

run: $(INSTALLED) ## start everything here, until Ctrl-C
	@$(LOCAL) run

run-bg: $(INSTALLED) ## start everything in the background; returns once /health is 200
	@$(LOCAL) run-bg

stop: $(INSTALLED) ## stop everything; returns once all of it is gone
	@$(LOCAL) stop

restart-app: $(INSTALLED) ## restart web and workers, with .env as it is now; the data stay
	@$(LOCAL) restart-app

stop-worker: $(INSTALLED) ## stop the workers of sms, mms and email; sends are still accepted, and wait
	@$(LOCAL) stop-worker

start-worker: $(INSTALLED) ## start those workers again
	@$(LOCAL) start-worker

worker: $(INSTALLED) ## one more worker for sms, mms and email, here, until Ctrl-C
	@$(LOCAL) worker

logs: $(INSTALLED) ## follow the logs of what runs in the background
	@$(LOCAL) logs

demo: $(INSTALLED) ## send an SMS, an MMS and an email through the running system, and watch them arrive
	@$(LOCAL) demo

verify-redis-queue: $(INSTALLED) ## check queue, workers and webhooks of what runs here; elsewhere URL= API_KEY= BROKER_URL=
	@$(if $(URL),ENV_FILE=/dev/null VAR_DIR=/nonexistent DEBUG=true .venv/bin/python manage.py verify_queue,$(LOCAL) verify)

compose-by-hand: $(INSTALLED_DEV) ## start what docker-compose.yml says, without Docker, send through it and restart it
	@.venv/bin/python -m messaging_project.compose

seed-demo: $(INSTALLED) ## fill the running system's database with a world to look around in
	@.venv/bin/python manage.py seed_demo

reset: $(INSTALLED) ## delete var/: the local database, queues, ledger and generated secrets
	@$(LOCAL) reset

test: $(INSTALLED_DEV) ## run the tests, against a real PostgreSQL and a real Valkey of their own
	.venv/bin/pytest -n 2 --dist loadgroup

drill: $(INSTALLED_DEV) ## break everything once and compare the books, within half an hour; DRILL=name SEED=n for one
	@.venv/bin/python -m messaging_project.drills $(DRILL) $(if $(SEED),--seed $(SEED))

drill-short: $(INSTALLED_DEV) ## the drills that catch most, within five minutes
	@.venv/bin/python -m messaging_project.drills --short $(if $(SEED),--seed $(SEED))

bench: $(INSTALLED_DEV) ## measure how fast it is, against yardsticks in the same run, within 25 minutes; ROW=name for one
	@.venv/bin/python -m messaging_project.benchmarks $(ROW)

bench-short: $(INSTALLED_DEV) ## the ratios among that at a fifth of the size, within four minutes
	@.venv/bin/python -m messaging_project.benchmarks --short $(ROW)

fuzz: $(INSTALLED_DEV) ## ask the API whatever its schema allows, and what it does not, for ten minutes; SEED=n for that run again
	@.venv/bin/python -m messaging_project.fuzz $(if $(SEED),--seed $(SEED))

fuzz-short: $(INSTALLED_DEV) ## the same for two minutes
	@.venv/bin/python -m messaging_project.fuzz --seconds 110 $(if $(SEED),--seed $(SEED))

check: $(INSTALLED_DEV) ## what must be clean before the tests: ruff, mypy, import-linter, deployment settings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PRODUCTION) .venv/bin/mypy .
	.venv/bin/lint-imports
	$(PRODUCTION) .venv/bin/python manage.py check --deploy --fail-level WARNING

lock: $(INSTALLED) ## write requirements.lock anew from requirements.txt, with the hash of every file; needs an index
	@test -x var/tools/bin/uv || { $(PYTHON) -m venv var/tools && var/tools/bin/pip install --quiet uv==0.13.9; }
	@var/tools/bin/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes --quiet \
		--no-config --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

sbom: $(INSTALLED) ## write sbom.json: what production installs, with licences, as CycloneDX
	@.venv/bin/python -m messaging_project.sbom > sbom.json

$(INSTALLED): requirements.txt requirements-local.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": name another one with PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv || { \
		echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing what it takes to run into .venv: a minute or a few, this once."
	@$(PIP_INSTALL) -r requirements-local.txt
	@touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements-dev.txt
	@echo "Installing tools and test libraries into .venv: another minute or a few, this once."
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@
