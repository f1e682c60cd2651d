# Sluice's commands. Each installs what it needs and lacks, builds what it needs, and ends with
# nothing left running. `make` alone lists them.

BUILD := .build/release
# Without debug information, on which a third of the time goes: what is installed is stripped of it.
SWIFT_BUILD := swift build -c release -debug-info-format none
TESTS := $(BUILD)/sluicePackageTests.xctest

# What a bare Debian 12 with a Swift toolchain lacks: the toolchain's own libraries, the C libraries
# of the package, and what the sandbox of the tests and the demo is made with.
PACKAGES := ca-certificates curl dpkg-dev fish g++ git iproute2 iputils-ping jq kmod libc6-dev libcurl4 libmnl-dev \
	libncurses6 libnl-3-dev libnl-route-3-dev libsqlite3-0 libtomlplusplus-dev libvirt-clients \
	libvirt-daemon libxml2 lintian man-db mandoc nftables openvswitch-switch pkg-config qemu-system-arm \
	strace systemd tcpdump user-mode-linux valgrind zsh

# What a fleet is watched with: the tests unpack it, so that none of it runs as a service here.
FLEET := libestr0 libfastjson4 prometheus prometheus-alertmanager prometheus-node-exporter rsyslog

# Whom Sluice is measured against: unpacked and made below .build/bench, never run as services.
PEERS := collectd-core prometheus-node-exporter
PYTHON_PEERS := psutil pyroute2

# Where `make install` puts things, below DESTDIR.
PREFIX := /usr/local
ZSH_COMPLETIONS := $(PREFIX)/share/zsh/site-functions

FUZZ_SECONDS := 60

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help deps build install uninstall deb test check-package check-fleet histories fuzz soak asan tsan demo bench lint clean

help: ## List these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

deps: ## Install what is missing of the Debian packages needed
	@missing=$$(for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || \
			echo $$package; \
	done); \
	[ -z "$$missing" ] || { \
		$(SUDO) apt-get update -q && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get install -q -y --no-install-recommends $$missing; \
	}

.build/fleet:
	rm -rf $@.new && mkdir -p $@.new/root
	cd $@.new && { apt-get download -q $(FLEET) || \
		{ $(SUDO) apt-get update -q && apt-get download -q $(FLEET); }; }
	cd $@.new && for package in *.deb; do dpkg-deb -x $$package root || exit 1; done
	mv $@.new/root $@ && rm -rf $@.new

.build/bench/versions:
	rm -rf $(@D).new && mkdir -p $(@D).new/root
	cd $(@D).new && { apt-get download -q $(PEERS) || \
		{ $(SUDO) apt-get update -q && apt-get download -q $(PEERS); }; }
	cd $(@D).new && for package in *.deb; do dpkg-deb -x $$package root || exit 1; \
		dpkg-deb --show --showformat='$${Package} $${Version}\n' $$package >>versions; done
	python3 -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -q && \
		$(SUDO) apt-get install -q -y --no-install-recommends python3-venv; }
	rm -rf $(@D) && mv $(@D).new $(@D)
	python3 -m venv $(@D)/venv && $(@D)/venv/bin/pip install -q $(PYTHON_PEERS) || { rm -rf $(@D); exit 1; }

build: deps ## Build sluiced and sluicectl, optimised
	$(SWIFT_BUILD)

$(BUILD)/sluiced $(BUILD)/sluicectl:
	$(MAKE) build

# The manual and the completions are what the programs and the configuration say of themselves.
install: $(BUILD)/sluiced $(BUILD)/sluicectl ## Install what was built below DESTDIR, under PREFIX (/usr/local)
	install -D -s -m 755 $(BUILD)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -s -m 755 $(BUILD)/sluicectl $(DESTDIR)$(PREFIX)/bin/sluicectl
	Configs/manual/make $(BUILD) $(DESTDIR)$(PREFIX)/share/man
	for command in sluiced sluicectl; do \
		for place in bash:share/bash-completion/completions/$$command \
			fish:share/fish/vendor_completions.d/$$command.fish; do \
			$(BUILD)/$$command --generate-completion-script $${place%%:*} | sed '1{/^#!/d}' | \
				install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/$${place#*:} || exit 1; \
		done; \
		$(BUILD)/$$command --generate-completion-script zsh | \
			install -D -m 644 /dev/stdin $(DESTDIR)$(ZSH_COMPLETIONS)/_$$command || exit 1; \
	done
	install -D -m 644 systemd/sluiced.service -t $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed -i 's|/usr/sbin|$(PREFIX)/sbin|' $(DESTDIR)$(PREFIX)/lib/systemd/system/sluiced.service
	install -D -m 644 systemd/groups.conf -t $(DESTDIR)$(PREFIX)/lib/systemd/system/sluiced.service.d
	install -D -m 644 systemd/sluice.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/sluice.conf
	install -D -m 644 Configs/modprobe.conf $(DESTDIR)/etc/modprobe.d/sluice.conf
	for part in prometheus alertmanager grafana; do \
		install -D -m 644 Configs/$$part/* -t $(DESTDIR)$(PREFIX)/share/doc/sluice/examples/$$part || exit 1; \
	done
	install -D -m 644 README.md Configs/doc/*.md Configs/openapi.json -t $(DESTDIR)$(PREFIX)/share/doc/sluice
	sed -i 's|](\.\./\.\./README|](README|; s|](\.\./openapi|](openapi|' $(DESTDIR)$(PREFIX)/share/doc/sluice/guide.md
	install -d -m 755 $(DESTDIR)/etc/sluice/guards.d
	[ -e $(DESTDIR)/etc/sluice/sluiced.toml ] || \
		sed 's/^mode = "enforce"$$/# (As installed it observes. The default is "enforce".)\nmode = "observe"/' \
			Configs/sluiced.toml | install -m 644 /dev/stdin $(DESTDIR)/etc/sluice/sluiced.toml
	[ -n "$(DESTDIR)" ] || systemd-sysusers $(PREFIX)/lib/sysusers.d/sluice.conf

uninstall: ## Remove what make install put there, but the configuration
	rm -rf .build/uninstall
	$(MAKE) --no-print-directory install DESTDIR=.build/uninstall
	cd .build/uninstall && find . -type f ! -path './etc/sluice/*' | sed 's|^\.|$(DESTDIR)|' | xargs rm -f
	rm -rf .build/uninstall

deb: build ## Build the Debian package, .build/deb/sluice_*.deb
	Configs/debian/build $(BUILD) .build/deb

test: deps .build/fleet lint ## Run all tests: the package, pure, on this kernel, and on a full kernel
	$(SWIFT_BUILD) --build-tests
	Configs/debian/build $(BUILD) .build/deb
	@$(MAKE) --no-print-directory -j2 check-package check-fleet
	@$(SUDO) Tests/fullkernel/lanes $(TESTS)

# Parts of `make test`.
check-package:
	@$(SUDO) Tests/package/check .build/deb/sluice_*.deb

check-fleet:
	@$(SUDO) Tests/fleet/check $(BUILD) .build/fleet

histories: deps ## Run the daemon's turn over a million simulated hosts, SLUICE_HISTORIES
	$(SWIFT_BUILD) --build-tests
	SLUICE_HISTORIES=$${SLUICE_HISTORIES:-1000000} $(TESTS) --testing-library swift-testing \
		--filter SimulationTests.HistoryTests

fuzz: deps ## Fuzz every reader of strangers' bytes, FUZZ_SECONDS (60) each
	SLUICE_FUZZ=1 swift build -c release --scratch-path .build-fuzz --product sluice-fuzz \
		--sanitize fuzzer --sanitize address -Xswiftc -sanitize=fuzzer,address
	@Tests/FuzzDriver/run .build-fuzz/release/sluice-fuzz .build-fuzz/fuzz $(FUZZ_SECONDS)

soak: deps ## Attack the daemon for 20 minutes (SLUICE_SOAK_SECONDS) on a full kernel: all must stay flat
	$(SWIFT_BUILD) --build-tests
	SLUICE_BIN_DIR=$$(realpath $(BUILD)) SLUICE_SOAK_SECONDS=$${SLUICE_SOAK_SECONDS:-1200} \
		Tests/fullkernel/run --memory 1024M --timeout 7200 -- $(TESTS) \
		--testing-library swift-testing --no-parallel --filter '^KernelTests\.SoakTests'

# Release, since a debug test binary stops in a thunk of the toolchain (an Optional as AnyHashable).
asan: deps ## Run the pure tests under the address sanitizer
	swift build -c release --build-tests --sanitize=address --scratch-path .build-asan
	SLUICE_HISTORIES=$${SLUICE_HISTORIES:-2000} SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 \
		.build-asan/release/sluicePackageTests.xctest --testing-library swift-testing \
		--skip '^(KernelTests|NetlinkTests|TrafficControlTests)\.'

tsan: deps ## Run the pure tests under the thread sanitizer
	swift build -c release --build-tests --sanitize=thread --scratch-path .build-tsan
	SLUICE_HISTORIES=$${SLUICE_HISTORIES:-200} SWIFT_BACKTRACE=enable=no TSAN_OPTIONS=exitcode=66 \
		.build-tsan/release/sluicePackageTests.xctest --testing-library swift-testing \
		--skip '^(KernelTests|NetlinkTests|TrafficControlTests)\.'

demo: build ## Show a flood and what becomes of it, live, in a sandbox, in under two minutes
	@$(BUILD)/sluice-demo --full-kernel Tests/fullkernel/run --output .build/demo

bench: build .build/bench/versions ## Measure all of it against its floors and its peers, in 25 minutes
	$(SUDO) $(BUILD)/sluice-bench $(SECTIONS)

lint: ## Check the format of all Swift sources, and that the tests that README.md names are there
	swift format lint --strict --parallel --recursive Sources Tests Package.swift
	@grep -o '`[A-Za-z]*Tests\.[A-Za-z]*`' README.md | tr -d '`' | sort -u | while IFS=. read -r suite test; do \
		grep -rqs "func $$test(" --include=$$suite.swift Tests || { echo "README.md names $$suite.$$test, which is no test"; exit 1; }; \
	done

clean: ## Remove what was built
	$(SUDO) rm -rf .build .build-*
