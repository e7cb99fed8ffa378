# The front door. `make help` says what there is; meson.build and Cargo.toml do the work behind it.

CARGO ?= cargo
PREFIX ?= /usr/local
# Where cargo builds; the programs under test are looked for there.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Needed only where files outside the tree are written.
SUDO := $(if $(filter 0,$(shell id -u))$(DESTDIR),,sudo)

.DEFAULT_GOAL := help
.PHONY: help setup build demo bench test lint install uninstall clean programs

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## install the Debian packages that are missing (asks sudo)
	@tools/setup

build: setup ## build modules, ALSA plugin, player and auderad, optimised, into build/
	@test -f build/build.ninja || meson setup build --buildtype=release --prefix=$(PREFIX)
	meson compile -C build

demo: build ## play two rooms on this machine: [FILE=music.flac] [OUTPUT=default] [SECONDS=15]
	$(CARGO) build --locked --release --package audera-testkit --bin audera-demo
	@$(TARGET_DIR)/release/audera-demo $(if $(FILE),--file "$(FILE)") $(if $(OUTPUT),--output "$(OUTPUT)") \
		$(if $(SECONDS),--seconds "$(SECONDS)")

bench: build ## measure how well rooms play in time, beside Snapcast: [SECONDS=25] [ONLY=cards,wifi] [OUT=build/bench]
	$(CARGO) build --locked --release --package audera-testkit --package audera-clock-shim \
		--package audera-testkit-alsa-card
	@$(TARGET_DIR)/release/audera-bench $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(ONLY),--only "$(ONLY)") \
		--out "$(or $(OUT),build/bench)"

# The tests load the modules and run the player as files. Building the tests in the same call gives all of them one set
# of features, so that `cargo test` afterwards has nothing left to compile.
programs:
	@tools/setup test
	$(CARGO) build --locked --workspace --lib --bins --tests --examples

test: programs ## run every test
	$(CARGO) test --locked --workspace --no-fail-fast

lint: programs ## check style, lints, documentation, licences and every shipped file
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	tools/check-purity
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	tools/check-licences
	shellcheck .ci/run tools/setup tools/check-purity tools/check-shipped-files
	shellcheck --shell=bash cli/completions/audera.bash
	tools/check-shipped-files $(TARGET_DIR)/debug

install: build ## install for every user of this machine: [PREFIX=/usr/local] [DESTDIR=...]
	$(SUDO) meson install -C build --no-rebuild

uninstall: ## remove what `make install` put there
	$(SUDO) ninja -C build uninstall

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf build
