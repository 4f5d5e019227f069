# The front door. Meson and ninja do the work underneath; tools/setup brings what is missing on Debian and Ubuntu.
#
#   make          build/sluiced and build/sluice
#   make demo     14 messages through a real daemon on 127.0.0.0/8, as one table
#   make run      the daemon of this host with etc/sluice.conf, state below ./var
#   make test     everything that must pass, under 20 minutes
#   make lint     layout, static analysis and the house rules
#   make bench    speed beside Postfix, in one interleaved run
#   make fuzz     libFuzzer, SECONDS (default 60) for each fuzzer
#   make drill    the long forms of the tests: 50 crash rounds and more
#   make install  into PREFIX (default /usr/local), below DESTDIR if set

SECONDS ?= 60
PREFIX ?= /usr/local

all: build/build.ninja
	@ninja -C build --quiet
	@ln -sf src/cmd/sluiced src/cmd/sluice build/

build/build.ninja:
	@tools/setup build
	@out=$$(meson setup build -Dtests=false --prefix=$(PREFIX) 2>&1) || { echo "$$out"; exit 1; }

demo:
	@tools/setup build demo
	@$(MAKE) --no-print-directory all
	@demo/run

run: all
	@mkdir -p var
	@exec build/sluiced -c etc/sluice.conf

test:
	@tools/setup build test
	@tools/test

drill:
	@tools/setup build test
	@tools/test --drill

lint:
	@tools/setup build lint
	@$(MAKE) --no-print-directory all
	@tools/lint

bench:
	@tools/setup build bench
	@bench/run

fuzz:
	@tools/setup build fuzz
	@tools/fuzz $(SECONDS)

install: all
	@meson configure build -Dprefix=$(PREFIX)
	@meson install -C build --quiet $(if $(DESTDIR),--destdir $(DESTDIR))

clean:
	@rm -rf build build-*

.PHONY: all demo run test drill lint bench fuzz install clean
