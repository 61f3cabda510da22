# Foleni. `make help` lists the targets; everything is built below build/.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

BUILD ?= build
PREFIX ?= /usr/local
CC = gcc
PYTHON ?= /usr/bin/python3
PKGS = libevent_core libevent_extra libevent_openssl openssl libcurl \
       rdkafka libcjson libpq libconfig
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
       -Wmissing-prototypes -Wformat=2 -Wundef -Wvla -Wswitch-enum \
       -Wwrite-strings -Wcast-qual
HARDEN = -D_FORTIFY_SOURCE=2 -fstack-protector-strong
SANITIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
       -fno-sanitize-recover=all
OPT ?= -O2 -g $(HARDEN)
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS += -std=gnu17 -fPIE $(OPT) $(WARN) $(EXTRA)
LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed
# Asked for when first needed: set-up may install the libraries before that.
LDLIBS = $(eval LDLIBS := $$(shell pkg-config --libs $(PKGS)) -lpthread -lm)$(LDLIBS)
INCS = $(eval INCS := $$(shell pkg-config --cflags $(PKGS)))$(INCS)

# One short line per file; V=1 shows the commands.
say = $(if $(V),,@printf '  %-3s %s\n' $(1) $@; )

# Rooms become archives, so that a program links only what it uses.
src = $(filter-out $(1)/main.c,$(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
COMMON = $(BUILD)/libcommon.a
PRODUCER = $(BUILD)/libproducer.a
CONSUMER = $(BUILD)/libconsumer.a
SIM = $(BUILD)/libsim.a
TOOLS = $(BUILD)/libtools.a
PROGRAMS = $(addprefix $(BUILD)/,foleni-api foleni-worker foleni \
       foleni-broker daraja-sim)
UNIT = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,\
       $(wildcard tests/unit/test_*.c))
SOURCES = $(wildcard common/*.c producer/*.c consumer/*.c tools/*.c \
       tests/daraja/*.c tests/unit/*.c tests/contract/*.c \
       tests/histories/*.c tests/bench/*.c)

##@ Try it
.PHONY: demo
demo: ## Set-up, build, payments on screen (BROKER=kafka, KEEP=1, N=300)
	@FOLENI_BUILD=$(BUILD) tests/demo/run

##@ Build
.PHONY: all
all: $(PROGRAMS) ## Every program

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(INCS) $(CFLAGS) -MMD -MP -c $< -o $@

# Changes when the compiler's flags do, so that nothing is built half and half.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || \
	 echo '$(CC) $(CPPFLAGS) $(CFLAGS)' > $@
.PHONY: FORCE
FORCE:

$(COMMON): $(call obj,$(call src,common))
$(PRODUCER): $(call obj,$(call src,producer))
$(CONSUMER): $(call obj,$(call src,consumer))
$(SIM): $(call obj,$(call src,tests/daraja))
$(TOOLS): $(call obj,$(filter-out tools/broker.c,$(call src,tools)))
$(BUILD)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

link = $(call say,LD)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS)
$(BUILD)/foleni-api: $(BUILD)/producer/main.o $(PRODUCER) $(COMMON)
	$(link)
$(BUILD)/foleni-worker: $(BUILD)/consumer/main.o $(CONSUMER) $(COMMON)
	$(link)
$(BUILD)/foleni: $(BUILD)/tools/main.o $(TOOLS) $(COMMON)
	$(link)
$(BUILD)/foleni-broker: $(call obj,tools/broker.c tools/relay.c tools/frame.c) \
                        $(COMMON)
	$(link)
$(BUILD)/daraja-sim: $(BUILD)/tests/daraja/main.o $(SIM) $(COMMON)
	$(link)
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(CONSUMER) $(PRODUCER) $(SIM) \
                  $(TOOLS) $(COMMON)
	@mkdir -p $(@D)
	$(link) -lcmocka

$(BUILD)/slowdisk.so: tests/torture/slowdisk.c
	@mkdir -p $(@D)
	$(call say,LD)$(CC) -D_GNU_SOURCE -std=gnu17 -fPIC -shared -O2 $(WARN) \
	 $(EXTRA) $< -o $@

$(BUILD)/contract: $(BUILD)/tests/contract/contract.o $(COMMON)
	$(link)

.PHONY: install
install: all ## Programs to PREFIX/bin, /usr/local unless set
	install -d $(DESTDIR)$(PREFIX)/bin
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin

##@ Prove it
.PHONY: check
check: ## Set-up, build, every test and every lint
	@tests/check

.PHONY: unit
unit: $(UNIT) ## Unit tests (cmocka), one binary per module
	@tests/unit/run $(UNIT)

.PHONY: unit-programs
unit-programs: $(UNIT)

# The core alone, in a world of its own. The seed is fixed unless one is given.
HISTORIES = $(BUILD)/flow-histories
$(HISTORIES): $(call obj,$(wildcard tests/histories/*.c)) $(CONSUMER) $(COMMON)
	$(link)
.PHONY: histories
histories: $(HISTORIES) ## Random histories of one payment (N= SEED= ONLY=)
	@$< $(if $(N),--n $(N)) $(if $(SEED),--seed $(SEED)) \
	 $(if $(ONLY),--only $(ONLY))

.PHONY: mutants
mutants: $(HISTORIES) $(BUILD)/tests/test_flow $(BUILD)/tests/test_flow_money \
         $(BUILD)/tests/test_flow_replay \
         $(BUILD)/tests/test_verdict ## The flow broken on purpose: all noticed?
	@FOLENI_BUILD=$(BUILD) tests/mutants/run $(ARGS)

.PHONY: contract
contract: all $(BUILD)/contract ## Schemas against the code, both directions
	@FOLENI_BUILD=$(BUILD) tests/py tests/contract

.PHONY: service
service: all $(BUILD)/bench-load ## Real binaries, Kafka, Postgres (ARGS="-k name")
	@FOLENI_BUILD=$(BUILD) tests/py tests/service $(ARGS)

.PHONY: fault
fault: all ## kill -9, SIGTERM and SIGSTOP under load (ARGS="-k name")
	@FOLENI_BUILD=$(BUILD) tests/py tests/fault $(ARGS)

# A build of its own, whose processes can be told to die between two lines.
TORTURE = build/torture
.PHONY: torture
torture: ## Rounds of load and faults (ROUNDS=5 SEED= ENV= WORLDS=1)
	@$(MAKE) --no-print-directory BUILD=$(TORTURE) \
	 EXTRA='$(EXTRA) -DFOLENI_WINDOWS' all $(TORTURE)/slowdisk.so
	@FOLENI_BUILD=$(TORTURE) tests/torture/run

.PHONY: torture-programs
torture-programs:
	@$(MAKE) --no-print-directory BUILD=$(TORTURE) \
	 EXTRA='$(EXTRA) -DFOLENI_WINDOWS' all $(TORTURE)/slowdisk.so

.PHONY: torture-mutants
torture-mutants: ## Builds with broken safety, which torture must catch
	@$(MAKE) --no-print-directory BUILD=$(TORTURE) \
	 EXTRA='$(EXTRA) -DFOLENI_WINDOWS' all
	@tests/torture/run mutants

.PHONY: model
model: ## The protocol in Spin: every order of faults, and mutants (ARGS=)
	@$(PYTHON) tests/model/run.py $(ARGS)

# One program of all targets, compiled by clang: our common floor, from which
# it takes what it needs, and the rooms that read something.
FUZZ_SRC = $(wildcard tests/fuzz/*.c) $(addprefix consumer/,gate_token.c \
       pull_page.c recorder.c recorder_read.c retry.c verdict.c) \
       producer/callbacks.c producer/find.c producer/spool_frame.c \
       tools/frame.c
FUZZ_FLAGS = -std=gnu17 -g1 -O1 -fno-omit-frame-pointer \
       -fsanitize=address,undefined -fno-sanitize-recover=all
fuzz_obj = $(patsubst %.c,build/fuzz/%.o,$(1))
build/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)clang $(CPPFLAGS) $(INCS) $(FUZZ_FLAGS) \
	 -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
build/fuzz/libcommon.a: $(call fuzz_obj,$(call src,common))
	@rm -f $@
	$(call say,AR)ar rcs $@ $^
build/fuzz/fuzz: $(call fuzz_obj,$(FUZZ_SRC)) build/fuzz/libcommon.a
	$(call say,LD)clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
-include $(patsubst %.c,build/fuzz/%.d,$(FUZZ_SRC) $(wildcard common/*.c))

.PHONY: fuzz
fuzz: build/fuzz/fuzz ## Parsers under libFuzzer (SECONDS=60 of each, SEED=, ARGS=name)
	@$(PYTHON) tests/fuzz/run.py --seconds $(or $(SECONDS),60) \
	 --seed $(or $(SEED),0) $(ARGS)

.PHONY: asan
asan: ## Programs, unit tests, histories under ASan and UBSan, in build/asan
	@$(MAKE) BUILD=build/asan OPT='$(SANITIZE)' EXTRA=-Werror all unit
	@$(MAKE) BUILD=build/asan OPT='$(SANITIZE)' EXTRA=-Werror \
	 histories N=100000
.PHONY: asan-programs
asan-programs:
	@$(MAKE) BUILD=build/asan OPT='$(SANITIZE)' EXTRA=-Werror all unit-programs

# The load generator, and a worker whose calls are answered in the process:
# its own calls.o comes first, so that common/call.o is not linked.
BENCH = $(BUILD)/bench-load $(BUILD)/bench-worker
$(BUILD)/bench-load: $(BUILD)/tests/bench/load.o
	$(link)
$(BUILD)/bench-worker: $(BUILD)/consumer/main.o $(BUILD)/tests/bench/calls.o \
                       $(CONSUMER) $(COMMON)
	$(link)

.PHONY: bench
bench: all $(BENCH) ## Figures of this machine beside the goals (QUICK=1 ONLY=a,c)
	@FOLENI_BUILD=$(BUILD) tests/bench/run $(if $(QUICK),--quick) \
	 $(if $(ONLY),--only $(ONLY)) $(ARGS)

.PHONY: bench-docs
bench-docs: ## The last figures into docs/benchmarks.json and its table
	@PYTHONPATH=. FOLENI_BUILD=$(BUILD) $(PYTHON) -B -m tests.bench.docs

##@ Keep it tidy
.PHONY: lint
lint: ## Layers, banned calls, headers that stand alone, format, words
	@$(PYTHON) tests/lint/run.py

.PHONY: format
format: ## Format every C file (not the .def tables)
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

.PHONY: shape
shape: ## Sizes of files and functions, and the longest ones
	@$(PYTHON) tests/lint/shape.py

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build $(BUILD)

.PHONY: help
help: ## This list
	@awk -F':.*## ' '/^##@/{printf "\n%s\n",substr($$0,5)} \
	 /^[a-z][a-z.-]*:.*## /{printf "  make %-10s %s\n",$$1,$$2}' \
	 $(MAKEFILE_LIST)

.SECONDARY:
-include $(patsubst %.c,$(BUILD)/%.d,$(SOURCES))
