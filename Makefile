# Sluice: `make` lists the targets.

SHELL       = /bin/bash
.SHELLFLAGS = -eu -o pipefail -c
MAKEFLAGS  += --no-builtin-rules

BUILD      ?= build
CC         ?= gcc
ifeq ($(origin CC), default)
CC          = gcc
endif

# an unpacked source of nginx; unset: the installed one's headers (nginx-dev)
NGX_SRC    ?=
NGX_DEV     = /usr/share/nginx/src

PREFIX     ?= /usr
DESTDIR    ?=

HARDENING   = -fstack-protector-strong -Wformat -Werror=format-security       \
              -D_FORTIFY_SOURCE=2
WARNINGS    = -Wall -Wextra -Werror
ARCH       := $(if $(filter x86_64,$(shell uname -m)),-mcx16)
CSTD        = -std=gnu11 $(ARCH) $(WARNINGS)

CFLAGS     ?= -O2 -g
LDFLAGS    ?= -Wl,-z,relro -Wl,-z,now
PIE         = -fPIE
MONGOC_CFLAGS  = $(shell pkg-config --cflags libmongoc-1.0)
MONGOC_LIBS    = $(shell pkg-config --libs libmongoc-1.0)
BSON_LIBS      = $(shell pkg-config --libs libbson-1.0)
CRYPTO_LIBS    = -lcrypto

# V=1 shows the commands
Q           = $(if $(V),,@)

COMPILE     = $(CC) $(CSTD) $(HARDENING) $(PIE) $(CFLAGS) -Ishm -MMD -MP

MODULE      = $(BUILD)/ngx_http_sluice_module.so

SHM_OBJ     = $(patsubst shm/%.c,$(BUILD)/shm/%.o,$(wildcard shm/*.c))
MODULE_SRC  = config $(wildcard ngx_module/*.[ch] shm/*.[ch])

CTL_SRC     = $(wildcard sidecar/ctl*.c) sidecar/sluicectl.c
COMMON_SRC  = $(addprefix sidecar/,document.c log.c options.c utf8.c)
SLUICED_SRC = $(filter-out $(CTL_SRC), $(wildcard sidecar/*.c))
SLUICED_OBJ = $(patsubst sidecar/%.c,$(BUILD)/sidecar/%.o,$(SLUICED_SRC))
CTL_OBJ     = $(patsubst sidecar/%.c,$(BUILD)/sidecar/%.o,$(CTL_SRC) $(COMMON_SRC))


.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }'  \
	    $(firstword $(MAKEFILE_LIST))


## building

.PHONY: all
all: module sidecar ## the module, sluiced and sluicectl, into build/

.PHONY: deps
deps: ## installs what is missing to build and test (Debian)
	@t/lib/deps

.PHONY: module
module: $(MODULE) ## the module for the installed nginx, or for NGX_SRC=tree

.PHONY: sidecar
sidecar: $(BUILD)/sluiced $(BUILD)/sluicectl ## sluiced and sluicectl

.PHONY: static
static: ## an nginx with the module built in, from NGX_SRC=tree
	@test -n "$(NGX_SRC)" || { echo "make static needs NGX_SRC=tree"; exit 1; }
	@t/lib/build-nginx $(BUILD)/static $(NGX_SRC)                              \
	    --cc-opt "-O2 -g $(HARDENING)" --ld-opt "$(LDFLAGS)"                  \
	    -- --add-module=$(CURDIR)

.PHONY: editor
editor: $(BUILD)/module/Makefile ## compile_commands.json, for editors
	@{ $(MAKE) -nBw sidecar;                                                   \
	   $(MAKE) -nBw -C $(NGX_DEV) -f $(abspath $(BUILD)/module)/Makefile modules; \
	 } 2>/dev/null | t/lib/compile-commands $(CURDIR) > compile_commands.json

ifeq ($(NGX_SRC),)

# all that Debian configures its nginx with, or our objects would not fit it

$(BUILD)/module/Makefile: config | $(BUILD)
	@test -x $(NGX_DEV)/configure                                              \
	    || { echo "nginx-dev is not installed: make deps, or NGX_SRC=tree";    \
	         exit 1; }
	@mkdir -p $(BUILD)/module
	@echo "  configure nginx-dev"
	@cd $(NGX_DEV) && . ./conf_flags                                            \
	    && ./configure "$${NGX_CONF_FLAGS[@]}" --builddir=$(abspath $(BUILD)/module) \
	           --with-cc="$(CC)" --with-cc-opt="$(CFLAGS) $(HARDENING) -fPIC"  \
	           --with-ld-opt="$(LDFLAGS) -fPIC"                                \
	           --add-dynamic-module=$(CURDIR)                                  \
	           > $(abspath $(BUILD)/module)/configure.log

# not our CFLAGS of a command line over nginx's, which have them and -mcx16;
# not over a file that an nginx has mapped: its workers would die, again and again

$(MODULE): MAKEOVERRIDES =

$(MODULE): $(BUILD)/module/Makefile $(MODULE_SRC)
	@$(MAKE) --no-print-directory -C $(NGX_DEV)                                \
	    -f $(abspath $(BUILD)/module)/Makefile modules                         \
	    > $(BUILD)/module/make.log 2>&1                                        \
	    || { tail -n 40 $(BUILD)/module/make.log; exit 1; }
	@echo "  build $@"
	@cp --remove-destination $(BUILD)/module/ngx_http_sluice_module.so $@

else

.PHONY: $(MODULE)
$(MODULE): | $(BUILD)
	@t/lib/build-nginx $(BUILD)/source $(NGX_SRC)                              \
	    --cc-opt "$(CFLAGS) $(HARDENING) -fPIC" --ld-opt "$(LDFLAGS) -fPIC"   \
	    -- --add-dynamic-module=$(CURDIR)
	@cp --remove-destination $(BUILD)/source/objs/ngx_http_sluice_module.so $@

endif

$(BUILD):
	mkdir -p $@

$(BUILD)/shm/%.o: shm/%.c
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(COMPILE) -c $< -o $@

$(BUILD)/sidecar/%.o: sidecar/%.c
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(COMPILE) -Isidecar $(MONGOC_CFLAGS) -c $< -o $@

$(BUILD)/libsluice.a: $(SHM_OBJ)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/sluiced: $(SLUICED_OBJ) $(BUILD)/libsluice.a
	@echo "  build $@"
	$(Q)$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(MONGOC_LIBS) -lpthread -o $@

$(BUILD)/sluicectl: $(CTL_OBJ) $(BUILD)/libsluice.a
	@echo "  build $@"
	$(Q)$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(BSON_LIBS) $(CRYPTO_LIBS) -o $@

-include $(wildcard $(BUILD)/shm/*.d $(BUILD)/sidecar/*.d)


## running and testing

PYTHON      = $(BUILD)/venv/bin/python -B

.PHONY: run
run: ready ## the main job on this machine, until Ctrl-C; ONCE=1: one round
	@$(PYTHON) conf.examples/demo.py --build $(BUILD) $(if $(ONCE),--once)

# a fresh machine first gets what is missing

.PHONY: ready
ready:
	@t/lib/deps
	@$(MAKE) --no-print-directory -s all


BENCH_C     = $(CC) $(CSTD) $(CFLAGS) -Ishm -Isidecar -Ibench

$(BUILD)/load: t/e2e/load.c | $(BUILD)
	@echo "  build $@"
	$(Q)$(CC) $(CSTD) $(CFLAGS) $< -o $@

# over the limit table, or a pool, all alike

TABLE_C     = $(addprefix $(BUILD)/,micro fill distance redis_loop ask pick    \
                                    keys_sim)

$(TABLE_C): $(BUILD)/%: bench/%.c $(BUILD)/libsluice.a bench/table.h
	@echo "  build $@"
	$(Q)$(BENCH_C) $(filter-out %.h,$^) -lpthread -lm -o $@

$(BUILD)/producer: bench/producer.c $(BUILD)/libsluice.a bench/sample.h
	@echo "  build $@"
	$(Q)$(BENCH_C) $(filter-out %.h,$^) -o $@

$(BUILD)/insert_loop: bench/insert_loop.c $(BUILD)/sidecar/document.o        \
                      $(BUILD)/sidecar/utf8.o $(BUILD)/libsluice.a bench/sample.h
	@echo "  build $@"
	$(Q)$(BENCH_C) $(MONGOC_CFLAGS) $(filter-out %.h,$^) $(MONGOC_LIBS) -o $@

.PHONY: bench
bench: ready $(TABLE_C) $(addprefix $(BUILD)/,load producer insert_loop) ## figures, and build/bench.json; QUICK=1: in about a minute
	@$(PYTHON) bench/run.py --build $(BUILD) $(if $(QUICK),--quick)

.PHONY: soak
soak: ready ## 1,000,000 requests through egress: memory and descriptors; REQUESTS=
	@$(PYTHON) bench/egress.py --build $(BUILD)                                \
	    --soak $(or $(REQUESTS),1000000)

.PHONY: plot
plot: ready $(BUILD)/micro ## docs/limits.svg: a decision's cost by the number of keys
	@$(BUILD)/micro 4000000 growth > $(BUILD)/limits.dat
	@gnuplot -e 'data = "$(BUILD)/limits.dat"; out = "$(BUILD)/limits.svg"'    \
	    bench/limits.gnuplot
	@mv $(BUILD)/limits.dat $(BUILD)/limits.svg docs/
	@cat docs/limits.dat

.PHONY: distance
distance: ready $(BUILD)/distance ## how far the limits are from a log of every request
	@$(BUILD)/distance 2000 10; echo; $(BUILD)/distance 2000 60; echo;         \
	    $(BUILD)/distance 200 600

.PHONY: keys
keys: ready $(BUILD)/keys_sim ## how many requests fail with a pool of keys, a simulation
	@$(BUILD)/keys_sim 480 table


# tests: a flavour is the same rules with another BUILD and other CFLAGS

PROVE       = prove --merge --timer
NGINX_ENV   = TEST_NGINX_RANDOMIZE=1
UNIT        = $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/test_*.c))
STRESS      = $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/stress_*.c))
TEST_C      = $(CC) $(CSTD) -D_GNU_SOURCE= $(CFLAGS) -Ishm -It/unit

ASAN        = -O1 -g -fsanitize=address,undefined                              \
              -fno-sanitize-recover=undefined -fno-omit-frame-pointer
TSAN        = -O1 -g -fsanitize=thread

.PHONY: test
test: ready ## every test; on a fresh machine as well
	@$(MAKE) --no-print-directory lint unit stress crash fuzz model nginx-test e2e
	@$(MAKE) --no-print-directory asan tsan

.PHONY: lint
lint: ## who includes whom, form, cppcheck
	@t/lib/lint

$(BUILD)/unit/%: t/unit/%.c t/unit/util.c t/unit/util.h $(BUILD)/libsluice.a
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(TEST_C) $(filter-out %.h,$^) -lcmocka -lpthread $(TEST_LIBS) -o $@

$(BUILD)/unit/test_seal: TEST_LIBS = $(CRYPTO_LIBS)

$(BUILD)/unit/test_document: t/unit/test_document.c t/unit/util.c             \
                    t/unit/util.h $(BUILD)/sidecar/document.o                \
                    $(BUILD)/sidecar/utf8.o $(BUILD)/libsluice.a              \
                    $(wildcard sidecar/*.[ch] t/unit/sidecar_*.c)
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(TEST_C) -Isidecar $(MONGOC_CFLAGS)                                  \
	    $(filter-out %.h sidecar/% t/unit/sidecar_%,$^) $(BSON_LIBS)          \
	    -lcmocka -o $@

.PHONY: unit
unit: $(UNIT) ## the shared-memory library, piece by piece (cmocka)
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PROVE) -e '' $(UNIT)

.PHONY: stress
stress: $(STRESS) ## its concurrent structures, threads and processes
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PROVE) -j2 -e '' $(STRESS)

# every file of shm/ again: fault points are in none of the other builds

$(BUILD)/crash: t/crash/crash.c t/unit/util.c $(wildcard shm/*.[ch])
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(TEST_C) -DSLUICE_FAULTS $(filter-out %.h,$^) -lcmocka -lpthread     \
	    $(CRYPTO_LIBS) -o $@

.PHONY: crash
crash: $(BUILD)/crash ## kill -9 at every fault point of shm/
	@$(PROVE) -e '' $(BUILD)/crash

.PHONY: nginx-test
nginx-test: $(MODULE) $(BUILD)/sluicectl ## t/*.t: the module in nginx
	@$(NGINX_ENV) TEST_NGINX_LOAD_MODULES=$(abspath $(MODULE))                \
	    $(PROVE) -j6 -It/lib t/*.t

.PHONY: matrix
matrix: $(BUILD)/sluicectl ## t/*.t, or TESTS=, with each nginx of NGX_SRCS="tree tree ..."
	@test -n "$(NGX_SRCS)"                                                    \
	    || { echo 'make matrix needs NGX_SRCS="tree tree ..."'; exit 1; }
	@t/lib/matrix $(BUILD)/matrix "$(or $(TESTS),$(wildcard t/*.t))" $(NGX_SRCS)

$(BUILD)/faults/sluiced: $(wildcard shm/*.[ch] sidecar/*.[ch])
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/faults                        \
	    CFLAGS="$(CFLAGS) -DSLUICE_FAULTS" $@

.PHONY: e2e
e2e: all $(BUILD)/load $(BUILD)/producer $(BUILD)/faults/sluiced ## all of it with a database, killed again and again
	@SLUICE_BUILD=$(abspath $(BUILD)) $(PROVE) -j3 -e '$(PYTHON)' t/e2e/*.py

.PHONY: model
model: ## the lock-free algorithms, every interleaving (spin)
	@t/model/run $(BUILD)/model


# libFuzzer; RUNS= more than a smoke test

FUZZ_C      = clang -std=gnu11 -D_GNU_SOURCE= $(ARCH) $(WARNINGS) -O1 -g -Ishm   \
              -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined

$(BUILD)/fuzz_%: t/fuzz/fuzz_%.c $(wildcard shm/*.[ch])
	@mkdir -p $(@D)
	@echo "  build $@"
	$(Q)$(FUZZ_C) $(filter-out %.h,$^) $(CRYPTO_LIBS) -o $@

RUNS       ?= 60000

.PHONY: fuzz
fuzz: $(patsubst t/fuzz/%.c,$(BUILD)/%,$(wildcard t/fuzz/*.c)) ## hostile bytes for codec, readers and parsers; RUNS=
	@$(BUILD)/fuzz_record -runs=$$((5 * $(RUNS))) -max_len=4200 2>&1 | tail -n 2
	@$(BUILD)/fuzz_lane -runs=$(RUNS) -max_len=1024 2>&1 | tail -n 2
	@$(BUILD)/fuzz_hint -runs=$$((5 * $(RUNS))) -max_len=300 2>&1 | tail -n 2
	@$(BUILD)/fuzz_seal -runs=$(RUNS) -max_len=600 2>&1 | tail -n 2
	@$(BUILD)/fuzz_tunnel -runs=$$((2 * $(RUNS))) -max_len=600 2>&1 | tail -n 2


## sanitizers

ASAN_NGINX  = $(BUILD)/asan/nginx/objs/nginx

NGX_TREE    = $(or $(NGX_SRC),                                                 \
                   $(shell t/lib/nginx-source || t/lib/nginx-source 1.28.3),   \
                   $(error no source of nginx: set NGX_SRC=tree))

# nginx's own noise: memcpy() of nothing, and its unaligned loads

.PHONY: asan
asan: $(BUILD)/sluicectl ## unit tests, readers, t/*.t, keys' and egress' load under ASan and UBSan, nginx from source
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan CFLAGS="$(ASAN)"         \
	    HARDENING= LDFLAGS= unit crash sidecar $(BUILD)/asan/load
	@t/lib/build-nginx $(BUILD)/asan/nginx $(NGX_TREE)                         \
	    --cc-opt "$(ASAN) -fno-sanitize=nonnull-attribute                      \
	              -DNGX_DEBUG_PALLOC=1 -DNGX_HAVE_NONALIGNED=0"                \
	    --ld-opt "-fsanitize=address,undefined" -- --add-module=$(CURDIR)
	@$(NGINX_ENV) TEST_NGINX_BINARY=$(abspath $(ASAN_NGINX))                   \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1           \
	    $(PROVE) -j6 -It/lib t/*.t
	@ASAN_OPTIONS=detect_leaks=0 SLUICE_BUILD=$(abspath $(BUILD))/asan         \
	    SLUICE_NGINX=$(abspath $(ASAN_NGINX)) SLUICE_MODULE=                   \
	    SLUICE_FLIP_STEP=4                                                     \
	    $(PROVE) -j2 -e '$(PYTHON)' t/e2e/60-flipped.py                        \
	             t/e2e/90-keys.py t/e2e/92-keys-abort.py                       \
	             t/e2e/94-egress-abort.py t/e2e/95-egress-integrity.py

.PHONY: tsan
tsan: ## the stress of threads, and sluiced, under TSan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan CFLAGS="$(TSAN)"         \
	    HARDENING= LDFLAGS= stress sidecar $(BUILD)/tsan/producer
	@SLUICE_BUILD=$(abspath $(BUILD))/tsan SLUICE_TSAN=1                       \
	    $(PROVE) -e '$(PYTHON)' t/e2e/86-writers.py

.PHONY: install
install: all ## into DESTDIR and PREFIX
	install -D -m 644 $(MODULE) $(DESTDIR)$(PREFIX)/lib/nginx/modules/ngx_http_sluice_module.so
	install -D -m 755 $(BUILD)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -m 755 $(BUILD)/sluicectl $(DESTDIR)$(PREFIX)/bin/sluicectl

.PHONY: clean
clean: ## removes build/
	rm -rf $(BUILD)
