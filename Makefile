# Sekisho. `make demo` shows it at work, `make test` proves it; both set up what they need on a fresh Debian.

PYTHON ?= $(shell .ci/python)
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := python3-venv python3-dev gcc freeradius freeradius-utils oathtool libpam-radius-auth pamtester libpam-wrapper libnss-wrapper \
            chromium fonts-ipafont-gothic faketime sqlite3 procps iproute2 e2fsprogs \
            curl make libpam0g-dev libpam-runtime binutils valgrind mandoc openssh-server openssh-client sudo \
            libpam-google-authenticator systemd slapd ldap-utils prometheus \
            rsyslog rsyslog-openssl eapoltest postgresql
JOBS ?= $(shell nproc)
# Tests wait as long as they compute.
TESTERS ?= $(shell expr $(JOBS) \* 2)

.DEFAULT_GOAL := help
.PHONY: help install rollback compiled demo test test-source coverage test-postgresql test-compiled lint soak browsers tour bench fuzz mutants docs texts lock clean system dev

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

# Only from the command line: some environments have a PREFIX of their own.
ifeq ($(origin PREFIX),command line)
install:
	@WHEEL="$(WHEEL)" DESTDIR="$(DESTDIR)" .ci/install "$(PYTHON)" "$(PREFIX)"
else
install: $(BIN)/sekisho  ## .venv/bin/sekisho; with PREFIX=/opt/sekisho a release there, with user, folders and units
endif

rollback:  ## back to the release that was installed before: make rollback PREFIX=/opt/sekisho
	@.ci/install --rollback "$(PREFIX)"

$(BIN)/python:
	@test -n "$(PYTHON)" || \
		{ echo "Sekisho needs Python 3.11 or newer; here is $$(python3 --version 2>&1). Or: make PYTHON=/path" >&2; exit 1; }
	@.ci/venv $(PYTHON) $(VENV)

$(BIN)/sekisho: $(BIN)/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

dev: $(VENV)/.dev
$(VENV)/.dev: $(BIN)/sekisho requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

system:
	@.ci/packages $(PACKAGES)
	@.ci/packages chromium-headless-shell || echo "going on: pages in the whole Chromium, which takes three times as long"

COMPILED := build/compiled
ROOMS := admin_web config examples otp_core pam_module radius_server sekisho

compiled: $(COMPILED)/bin/sekisho  ## build/compiled/bin/sekisho: the hot rooms as machine code, 13 to 21 % more logins a second

# In a copy, so that no compiled module lies beside its source and outlives a change of it; with the locked compiler.
$(COMPILED)/bin/sekisho: $(VENV)/.dev $(shell find $(ROOMS) -type f -not -name '*.so' -not -name '*.pyc') pyproject.toml
	@.ci/packages gcc python3-dev
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED)/source && cp -r $(ROOMS) pyproject.toml README.md $(COMPILED)/source
	@echo "compiling (about a minute)"
	@cd $(COMPILED)/source && HATCH_BUILD_HOOK_ENABLE_MYPYC=true $(abspath $(BIN))/python -m pip wheel --quiet \
		--disable-pip-version-check --no-deps --no-build-isolation --wheel-dir .. .
	@.ci/venv $(BIN)/python $(COMPILED)
	@$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(COMPILED)/*.whl
	@rm -rf $(COMPILED)/source

# Only from the command line: some environments have a PORT of their own.
given = $(if $(filter command line,$(origin $1)),$2 $($1))

demo: install  ## a bank in a folder, a server, and lines to try it with; PORT=9000 and RADIUS_PORT=9812 choose ports
	@.ci/packages freeradius-utils oathtool curl || echo "going on without: codes by $(BIN)/sekisho demo code NAME" >&2
	@$(BIN)/sekisho demo $(call given,PORT,--port) $(call given,RADIUS_PORT,--radius-port)

# What does not need another is done beside it: packages come over the network, and the compiler has one core for two
# minutes. On a Debian without Python the packages come first.
test:  ## everything: style, types, layers, and all tests
	@test -n "$(PYTHON)" || $(MAKE) system
	$(MAKE) -j2 --output-sync=line system dev
	$(MAKE) -j2 compiled test-source
	$(MAKE) test-postgresql
	$(MAKE) test-compiled

test-source: lint
	.ci/tests build/failed $(BIN)/python -n $(TESTERS) --dist worksteal --durations=10

coverage: system dev  ## all tests once more, and which lines none of them runs
	.ci/tests build/failed-coverage $(BIN)/python -n $(TESTERS) --dist worksteal --cov --cov-report=term

# What stands beside the core and takes long: regular expressions, the table of who may do what, the first process, ports,
# forecasts by day, acts that stand in each other's way.
NOTHING_COMPILED := patterns.py permissions.py supervisor.py doctor_ports.py explanation_days.py desk_conflicts.py

# All of it: SEKISHO_ENGINE=postgresql .venv/bin/pytest tests/core tests/radius tests/pam tests/web tests/journeys tests/webhooks tests/syslog
test-postgresql: system dev  ## the races, the doors and the journeys of logins once more, on a PostgreSQL of each worker's own
	SEKISHO_ENGINE=postgresql .ci/tests build/failed-postgresql $(BIN)/python -n $(TESTERS) --dist worksteal \
		tests/core/test_login_batch.py tests/core/test_overtaken.py tests/core/test_reader_and_maintenance.py tests/core/test_enrolment.py \
		tests/core/test_several_tokens.py tests/core/test_staff.py tests/core/test_issuance.py tests/core/test_lost_time.py \
		tests/core/test_search_terms.py tests/core/test_wiring.py tests/journeys/test_once.py tests/journeys/test_radius_radclient.py \
		tests/radius/test_server.py tests/pam/test_door.py tests/web/test_portal.py tests/web/test_api_acts.py tests/web/test_api_once.py \
		tests/web/test_console_acts.py tests/webhooks/test_given_up.py tests/webhooks/test_webhooks.py tests/syslog/test_follower.py \
		tests/core/test_desk.py tests/core/test_desk_races.py tests/core/test_login_queue.py tests/core/test_login_queue_poisoned.py \
		tests/core/test_login_queue_trouble.py tests/core/test_engine_contract.py tests/core/test_doctor_ports.py tests/core/test_health.py \
		tests/journeys/test_throttle_shared.py tests/journeys/test_radius_hostile.py

# Safe path and append: the installed, compiled package is tested, and not the source that the tests lie beside.
test-compiled: compiled  ## the core's, the door's and the hardest journeys' tests once more, on the compiled rooms
	PYTHONSAFEPATH=1 SEKISHO_COMPILED=1 PYTHONPATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		.ci/tests build/failed-compiled $(COMPILED)/bin/python --import-mode=append -o pythonpath= -n $(TESTERS) --dist worksteal \
		$(addprefix --ignore=tests/core/test_,$(NOTHING_COMPILED)) \
		tests/test_compiled.py tests/core tests/radius tests/journeys/test_once.py tests/journeys/test_faults_crash.py \
		tests/journeys/test_radius_radclient.py tests/journeys/test_radius_hostile.py

lint: dev  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: system dev  ## what takes longer than CI should wait; Samba's Active Directory, Patroni and etcd, which are 150 MB to install
	@.ci/packages samba-ad-dc samba-ad-provision etcd-server etcd-client iptables
	$(MAKE) build/patroni/bin/patroni
	$(BIN)/python -m pytest -m soak

# With Debian's own Python, which the user postgres can read.
build/patroni/bin/patroni:
	@.ci/packages python3-venv
	@/usr/bin/python3 -m venv build/patroni && build/patroni/bin/python -m pip install --quiet --disable-pip-version-check "patroni[etcd3,psycopg3]==4.1.5"

browsers: system dev  ## the soft token in Firefox and WebKit, which are 120 MB to install
	@.ci/packages firefox-esr gir1.2-webkit2-4.1 python3-gi xvfb xauth
	$(BIN)/python -m pytest -m browsers tests/web/test_softtoken_browsers.py

tour: system dev  ## the pictures of docs/tour.md anew, from the tests that examine the pages
	SEKISHO_SCREENSHOTS=build/tour $(BIN)/python -m pytest -p no:cacheprovider \
		tests/web/test_portal_browser.py tests/web/test_portal_tokens.py tests/web/test_bank_login.py tests/web/test_softtoken_page.py \
		tests/web/test_softtoken_clock.py tests/web/test_softtoken_storage.py tests/web/test_softtoken_update.py \
		tests/web/test_softtoken_pin.py tests/web/test_softtoken_passkey.py tests/web/test_softtoken_screen_reader.py \
		tests/web/test_portal_and_soft_token.py \
		tests/web/test_brand.py tests/web/test_console_*browser.py tests/web/test_console_forecast.py
	$(BIN)/python -m tests.web.pictures build/tour

fuzz: dev  ## the packet parser against a coverage-guided fuzzer, the PAM module against bad frames: a minute each
	$(BIN)/python tests/radius/fuzz_packet.py -max_total_time=60
	SEKISHO_FUZZ_SECONDS=60 $(BIN)/python -m pytest tests/pam/test_module_memory.py

MUTANTS := build/mutants

# In copies, so that no mutant is ever in the checkout: one for mutmut, numbered ones for the tables.
# One module: make mutants ONLY='otp_core.otp.*'
mutants: dev  ## the pure rooms changed in every small way: which change does no test notice? About half an hour
	@rm -rf $(MUTANTS)
	@for copy in functions $$(seq $(JOBS)); do \
		mkdir -p $(MUTANTS)/$$copy/tmp && cp -r $(ROOMS) tests pyproject.toml README.md $(MUTANTS)/$$copy; done
	cd $(MUTANTS)/functions && TMPDIR=$$PWD/tmp $(abspath $(BIN))/mutmut run --max-children $(JOBS) $(ONLY) >../mutmut.log || \
		{ tail -n 40 ../mutmut.log; exit 1; }
	TMPDIR=$(abspath $(MUTANTS))/1/tmp $(BIN)/python -m tests.mutants.tables $(MUTANTS) $(ONLY)
	@$(BIN)/python -m tests.mutants.summary $(MUTANTS)

bench: system compiled  ## speed and memory beside FreeRADIUS and the other PAM modules
	@.ci/packages freeradius-ldap freeradius-postgresql
	@$(BIN)/python -m benchmarks.directory --sekisho $(COMPILED)/bin/sekisho
	@$(BIN)/python -m benchmarks.run --sekisho $(COMPILED)/bin/sekisho; radius=$$?; \
		$(BIN)/python -m benchmarks.databases --sekisho $(COMPILED)/bin/sekisho; databases=$$?; \
		$(BIN)/python -m benchmarks.proxy --sekisho $(COMPILED)/bin/sekisho; proxy=$$?; \
		$(BIN)/python -m benchmarks.hung --sekisho $(COMPILED)/bin/sekisho; hung=$$?; \
		$(BIN)/python -m benchmarks.api --sekisho $(COMPILED)/bin/sekisho; api=$$?; \
		$(BIN)/python -m benchmarks.staff --sekisho $(COMPILED)/bin/sekisho; staff=$$?; \
		$(BIN)/python -m benchmarks.pam --sekisho $(COMPILED)/bin/sekisho && exit $$((radius | databases | proxy | hung | api | staff))

docs: install  ## docs/settings.md's table, from the settings' own schema
	@sed -i '/<!-- settings -->/,/<!-- end of settings -->/{//!d}' docs/settings.md
	@$(BIN)/sekisho config schema --markdown | sed -i '/<!-- settings -->/r /dev/stdin' docs/settings.md

texts: dev  ## the portal's words: new sentences into the catalogue, the catalogue compiled
	cd admin_web && ../$(BIN)/pybabel -q extract -F locale/babel.cfg -k gettext_noop -k worded --no-location --omit-header -o ../.venv/portal.pot . ../otp_core/imports
	cd admin_web && ../$(BIN)/pybabel -q update --ignore-pot-creation-date -D portal -i ../.venv/portal.pot -d locale -l ja --no-fuzzy-matching --no-wrap
	cd admin_web && ../$(BIN)/pybabel -q compile -D portal -d locale

lock: $(BIN)/python  ## pin every dependency anew
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-find-links --no-header --no-annotate --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url \
		--no-emit-find-links --no-header --no-annotate --extra dev --extra fuzz \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean:  ## remove what was made, the demo's store included
	rm -rf $(VENV) demo build dist benchmarks/out .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
