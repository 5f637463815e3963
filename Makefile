# What people type. The work is done by CMake, tools/setup and tests/run.

.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

CMAKE_FLAGS ?=
FUZZ_SECONDS ?= 600
ARGS ?=

# CMakeLists.txt sees to ccache.
configure = cmake -S . -B build/$(1) -G Ninja $(CMAKE_FLAGS)
optimized := -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g"
debug := -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g"
ctest := ctest --output-on-failure --no-tests=error --timeout 300 -j 2
buf := build/tools/bin/buf

.PHONY: help build run test soak build-asan build-tsan build-fuzz asan tsan \
	fuzz bench lint baseline grpcurl setup clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo '  Variables: ARGS="..." for make run, FUZZ_SECONDS per fuzz target,'
	@echo '  CMAKE_FLAGS="-D..." for every configuration.'

build: ## build/release: mnemed, mneme-conform, mneme.protoset
	@$(call configure,release) $(optimized) >build/release.log 2>&1 || \
		{ cat build/release.log; exit 1; }
	@cmake --build build/release

run: ## install what is missing, build, start a server on port 7700
	@tools/setup run
	@$(MAKE) build
	@exec tools/run build/release/mnemed $(ARGS)

test: ## everything, with a count as the last line; under 15 minutes
	@exec tests/run

soak: ## crashes and faults for hours: 1,000 rounds of SIGKILL, 500 of power cuts
	@MNEME_FAULT_SOAK=1 exec tests/run setup build fault

# A sanitizer build is made of the same sources in a folder of its own.
build-asan: | build-folder
	@$(call configure,asan) $(debug) -DMNEME_SANITIZE=address,undefined \
		>build/asan.log 2>&1 || { cat build/asan.log; exit 1; }
	@cmake --build build/asan

build-tsan: | build-folder
	@$(call configure,tsan) $(debug) -DMNEME_SANITIZE=thread \
		>build/tsan.log 2>&1 || { cat build/tsan.log; exit 1; }
	@cmake --build build/tsan

build-fuzz: | build-folder
	@$(call configure,fuzz) $(debug) -DCMAKE_C_COMPILER=clang-14 \
		-DMNEME_FUZZ=ON >build/fuzz.log 2>&1 || \
		{ cat build/fuzz.log; exit 1; }
	@cmake --build build/fuzz --target mneme_fuzzers

asan: build-asan ## ctest under the address and undefined-behaviour sanitizers
	@UBSAN_OPTIONS=print_stacktrace=1 $(ctest) --test-dir build/asan

tsan: build-tsan ## ctest under the thread sanitizer
	@TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" \
		$(ctest) --test-dir build/tsan

fuzz: build-fuzz ## every fuzz target for FUZZ_SECONDS each (600)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz

bench: ## the benchmarks
	@tools/setup bench
	@$(MAKE) build
	@exec tests/bench/run

lint: $(buf) ## buf lint and buf breaking
	@$(buf) lint proto
	@$(buf) breaking proto --against proto/mneme.binpb

baseline: $(buf) ## renew proto/mneme.binpb, in the commit that serves a method
	@$(buf) build proto --exclude-source-info -o proto/mneme.binpb

grpcurl: ## build/tools/bin/grpcurl alone
	@tools/setup grpcurl
	@ls build/tools/bin/grpcurl

setup: ## what make test needs, without running it
	@tools/setup test

clean: ## remove what was built; build/tools stays
	@rm -rf $(filter-out build/tools,$(wildcard build/*))

$(buf):
	@tools/setup test

.PHONY: build-folder
build-folder:
	@mkdir -p build
build: | build-folder
