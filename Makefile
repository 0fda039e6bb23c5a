# Names of habit; the work is in scripts/ and CMake.
.PHONY: build test test-long bench lint fuzz demo install deb clean
PREFIX ?= /usr/local

build:
	cmake --preset release
	cmake --build build/release
test:
	scripts/test
test-long:
	scripts/test --long
bench:
	scripts/bench
lint:
	scripts/test lint
fuzz:
	scripts/fuzz
demo:
	scripts/demo
install: build
	cmake --install build/release --prefix $(PREFIX)
deb: build
	cmake --build build/release --target package
clean:
	rm -rf build
