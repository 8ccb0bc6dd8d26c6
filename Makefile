# What people run here. `make` alone lists it. Nothing needs setting up first: every target that
# needs the virtualenv makes it, from the locks, with hashes checked.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SILENT:
.NOTPARALLEL:

PY := .venv/bin/python
READY := .venv/.installed
OPERATIONS := $(PY) -m deploy.local run -- services.ingress.operations
BILLING_OPERATIONS := $(PY) -m deploy.local run --as billing -- services.billing.operations
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --annotation-style line $(if $(UPGRADE),--upgrade)

# $(call need,NAME,example): stop, saying how it should be called, when a variable is missing.
need = $(if $($(1)),,$(error $(1) is missing: make $@ $(2)))

##@ The system

.PHONY: up down status logs clean demo
up: $(READY) ## start everything and wait (PROVIDER_ENDPOINTS= EGRESS_ALLOW= CATALOG= PLATFORM_CREDENTIALS= INGRESS_PORT= ...)
	$(PY) -m deploy.local up

down: $(READY) ## stop everything; data stays
	$(PY) -m deploy.local down

status: $(READY) ## one line a process: pid, port, ready or not, memory, uptime
	$(PY) -m deploy.local status

logs: $(READY) ## follow the log of SERVICE= (all without it)
	$(PY) -m deploy.local logs $(SERVICE)

clean: $(READY) ## stop everything and remove its data; downloads stay in .local/cache
	$(PY) -m deploy.local clean

demo: $(READY) ## start everything and walk through its story, each step checked
	$(PY) -m deploy.local up
	$(PY) -m deploy.demo

##@ Operators

.PHONY: account account-policy api-key-policy management-key credit refund correct platform-credential catalog-publish
.PHONY: vault-policies vault-rotate vault-retire audit-verify replay reconcile acknowledge seal-month
account: $(READY) ## make an account: NAME=; the last line is JSON with its keys, shown once
	$(call need,NAME,NAME=acme)
	$(OPERATIONS) account --name "$$NAME"

account-policy: $(READY) ## change an account: ACCOUNT= [ALLOTMENT=requests|list_cost] [FREE_REQUESTS=] [FREE_LIST_COST=] [FEE_PERCENT=] [BYOK_ONLY=true|false] [SHARED_LIMITS=json]
	$(call need,ACCOUNT,ACCOUNT=01a2... FREE_REQUESTS=1000 FEE_PERCENT=5 BYOK_ONLY=true)
	$(OPERATIONS) account-policy --account "$$ACCOUNT" \
		$${ALLOTMENT:+--allotment "$$ALLOTMENT"} \
		$${FREE_REQUESTS:+--free-requests "$$FREE_REQUESTS"} \
		$${FREE_LIST_COST:+--free-list-cost "$$FREE_LIST_COST"} \
		$${FEE_PERCENT:+--fee-percent "$$FEE_PERCENT"} \
		$${BYOK_ONLY:+--byok-only "$$BYOK_ONLY"} \
		$${SHARED_LIMITS:+--shared-limits "$$SHARED_LIMITS"}

api-key-policy: $(READY) ## change an API key: KEY_HASH= (sha256sum of the key) BYOK_ONLY=true|false
	$(call need,KEY_HASH,KEY_HASH=9f86d0... BYOK_ONLY=true)
	$(call need,BYOK_ONLY,KEY_HASH=9f86d0... BYOK_ONLY=true)
	$(OPERATIONS) api-key-policy --key-hash "$$KEY_HASH" --byok-only "$$BYOK_ONLY"

management-key: $(READY) ## an account's management keys: ACCOUNT= [NEW=1] (shown once) [DISABLE=hash]
	$(call need,ACCOUNT,ACCOUNT=01a2... NEW=1)
	$(OPERATIONS) management-key --account "$$ACCOUNT" $(if $(filter 1 true,$(NEW)),--new) \
		$${DISABLE:+--disable "$$DISABLE"}

credit: $(READY) ## top up: ACCOUNT= AMOUNT=5.00 [KEY=once-only] [KIND=promotion]
	$(call need,ACCOUNT,ACCOUNT=01a2... AMOUNT=5.00)
	$(call need,AMOUNT,ACCOUNT=01a2... AMOUNT=5.00)
	$(OPERATIONS) credit --account "$$ACCOUNT" --amount "$$AMOUNT" $${KEY:+--key "$$KEY"} \
		$${KIND:+--kind "$$KIND"}

refund: $(READY) ## book money that went back to a customer: ACCOUNT= AMOUNT=5.00 [KEY=once-only] [REASON=]
	$(call need,ACCOUNT,ACCOUNT=01a2... AMOUNT=5.00)
	$(call need,AMOUNT,ACCOUNT=01a2... AMOUNT=5.00)
	$(OPERATIONS) refund --account "$$ACCOUNT" --amount "$$AMOUNT" $${KEY:+--key "$$KEY"} \
		$${REASON:+--reason "$$REASON"}

correct: $(READY) ## give credits, or take them: ACCOUNT= AMOUNT=-1.25 REASON= [REFERENCE=gen-...] [KEY=once-only]
	$(call need,ACCOUNT,ACCOUNT=01a2... AMOUNT=-1.25 REASON="priced twice")
	$(call need,AMOUNT,ACCOUNT=01a2... AMOUNT=-1.25 REASON="priced twice")
	$(call need,REASON,ACCOUNT=01a2... AMOUNT=-1.25 REASON="priced twice")
	$(OPERATIONS) correct --account "$$ACCOUNT" --amount="$$AMOUNT" --reason "$$REASON" \
		$${REFERENCE:+--reference "$$REFERENCE"} $${KEY:+--key "$$KEY"}

platform-credential: $(READY) ## store OpenRoute's own credential: PROVIDER= FILE= (what a user would paste)
	$(call need,PROVIDER,PROVIDER=openai FILE=key.txt)
	$(call need,FILE,PROVIDER=openai FILE=key.txt)
	$(OPERATIONS) platform-credential --provider "$$PROVIDER" --file "$$FILE"

catalog-publish: $(READY) ## publish the model catalog to the running stack: [CATALOG=folder]
	$(PY) -m deploy.local catalog

vault-policies: $(READY) ## bring a Vault to its keys, roles and policies: VAULT_ADDRESS= VAULT_TOKEN= (the stack's without them)
	$(PY) -m deploy.local vault-policies

vault-rotate: $(READY) ## new key versions, then rewrap every credential: [RETIRE=1] (VAULT_ADDRESS= VAULT_TOKEN= and key_vault's settings, else the stack's)
	$(PY) -m deploy.local vault-rotate $(if $(filter 1 true,$(RETIRE)),--retire)

vault-retire: $(READY) ## daily: retire versions of the keys intake and wire that nothing needs any more (VAULT_ADDRESS= VAULT_TOKEN=)
	$(PY) -m deploy.local vault-retire

replay: $(READY) ## make receipts and activity anew from Kafka, while billing runs: FROM=beginning (or 2026-01-31T12:00:00Z)
	$(call need,FROM,FROM=beginning)
	$(PY) -m deploy.local run --as billing -- services.billing.operations replay --from "$$FROM"

audit-verify: $(READY) ## check that nobody changed the audit of credentials: each damage is named, exit 1 for any
	$(PY) -m deploy.local run --as key_vault -- services.key_vault.operations verify-audit

reconcile: $(READY) ## compare Kafka, the books and published state both ways: [FROM=2026-10-01] [TO=] (UTC); exit 1 if anything differs
	$(BILLING_OPERATIONS) reconcile $${FROM:+--from "$$FROM"} $${TO:+--to "$$TO"}

acknowledge: $(READY) ## keep what was decided about a dead letter, so that reconcile passes it: TOPIC= PARTITION= OFFSET= REASON= BY=
	$(call need,TOPIC,TOPIC=inference.generations PARTITION=3 OFFSET=17 REASON="given by make correct" BY=ada)
	$(call need,PARTITION,TOPIC=inference.generations PARTITION=3 OFFSET=17 REASON="given by make correct" BY=ada)
	$(call need,OFFSET,TOPIC=inference.generations PARTITION=3 OFFSET=17 REASON="given by make correct" BY=ada)
	$(call need,REASON,TOPIC=inference.generations PARTITION=3 OFFSET=17 REASON="given by make correct" BY=ada)
	$(call need,BY,TOPIC=inference.generations PARTITION=3 OFFSET=17 REASON="given by make correct" BY=ada)
	$(BILLING_OPERATIONS) acknowledge --topic "$$TOPIC" --partition "$$PARTITION" --offset "$$OFFSET" \
		--reason "$$REASON" --by "$$BY"

seal-month: $(READY) ## close a month that is over and reconciles, and keep its count, sum and hash: MONTH=2026-10
	$(call need,MONTH,MONTH=2026-10)
	$(BILLING_OPERATIONS) seal-month --month "$$MONTH"

##@ Development

.PHONY: test check lint types arch fix bench bench-rotation chaos-billing schemas lock
test: lint types arch ## everything: lint, types, architecture, then all tests on real servers
	$(PY) -m pytest -n auto tests/unit tests/contract
	$(PY) -m pytest -n 2 --dist loadfile --ignore=tests/unit --ignore=tests/contract

check: lint types arch ## what needs no servers: lint, types, architecture; changes nothing

lint: $(READY) ## ruff: rules and format
	echo "ruff check"; .venv/bin/ruff check .
	echo "ruff format --check"; .venv/bin/ruff format --check .

types: $(READY) ## mypy, strict, tests too
	echo "mypy"; .venv/bin/mypy .

arch: $(READY) ## import-linter: who may import whom
	echo "lint-imports"; .venv/bin/lint-imports

fix: $(READY) ## ruff: repair and format what can be
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: $(READY) ## measure throughput and latency against two bare HTTP hops, and each adapter's share
	$(PY) -m tests.bench

bench-rotation: $(READY) ## rotate and rewrap 10,000 credentials under load; no request may fail
	$(PY) -m tests.bench.rotation

chaos-billing: $(READY) ## kill -9 of billing, PostgreSQL and Kafka at random under load, then reconcile: [SECONDS=180] [SEED=]
	$(PY) -m tests.chaos.billing $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

schemas: $(READY) ## write AsyncAPI, golden schemas of new events and .env.example anew
	$(PY) -m deploy.schemas

lock: $(READY) ## resolve the locks anew, keeping versions that still fit (UPGRADE=1 for the newest)
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	echo uv | $(COMPILE) - --output-file requirements-uv.lock
	$(PY) -m deploy.local lock-jars

$(READY): requirements-dev.lock requirements-uv.lock deploy/local/virtualenv
	deploy/local/virtualenv

.PHONY: help
help:
	awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
