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

ifeq ($(NGX_SRC),)

# all that Debian configures its nginx with, or our objects would not fit it

$(BUILD)/module/Makefile: config | $(BUILD)
	@test -x $(NGX_DEV)/configure                                              \
	    || { echo "nginx-dev is not installed: make deps, or NGX_SRC=tree";    \
	         exit 1; }
	@mkdir -p $(BUILD)/module
	cd $(NGX_DEV) && . ./conf_flags                                            \
	    && ./configure "$${NGX_CONF_FLAGS[@]}" --builddir=$(abspath $(BUILD)/module) \
	           --with-cc="$(CC)" --with-cc-opt="$(CFLAGS) $(HARDENING) -fPIC"  \
	           --with-ld-opt="$(LDFLAGS) -fPIC"                                \
	           --add-dynamic-module=$(CURDIR)                                  \
	           > $(abspath $(BUILD)/module)/configure.log

$(MODULE): $(BUILD)/module/Makefile $(MODULE_SRC)
	@$(MAKE) --no-print-directory -C $(NGX_DEV)                                \
	    -f $(abspath $(BUILD)/module)/Makefile modules                         \
	    > $(BUILD)/module/make.log 2>&1                                        \
	    || { tail -n 40 $(BUILD)/module/make.log; exit 1; }
	cp $(BUILD)/module/ngx_http_sluice_module.so $@

else

.PHONY: $(MODULE)
$(MODULE): | $(BUILD)
	@t/lib/build-nginx $(BUILD)/source $(NGX_SRC)                              \
	    --cc-opt "$(CFLAGS) $(HARDENING) -fPIC" --ld-opt "$(LDFLAGS) -fPIC"   \
	    -- --add-dynamic-module=$(CURDIR)
	cp $(BUILD)/source/objs/ngx_http_sluice_module.so $@

endif

$(BUILD):
	mkdir -p $@

$(BUILD)/shm/%.o: shm/%.c
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

$(BUILD)/sidecar/%.o: sidecar/%.c
	@mkdir -p $(@D)
	$(COMPILE) -Isidecar $(MONGOC_CFLAGS) -c $< -o $@

$(BUILD)/libsluice.a: $(SHM_OBJ)
	rm -f $@
	ar rcs $@ $^

$(BUILD)/sluiced: $(SLUICED_OBJ) $(BUILD)/libsluice.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(MONGOC_LIBS) -lpthread -o $@

$(BUILD)/sluicectl: $(CTL_OBJ) $(BUILD)/libsluice.a
	$(CC) $(CFLAGS) -pie $(LDFLAGS) $^ $(BSON_LIBS) -o $@

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
	$(CC) $(CSTD) $(CFLAGS) $< -o $@

$(BUILD)/micro: bench/micro.c $(BUILD)/libsluice.a
	$(BENCH_C) $^ -lpthread -o $@

$(BUILD)/producer: bench/producer.c $(BUILD)/libsluice.a bench/sample.h
	$(BENCH_C) $(filter-out %.h,$^) -o $@

$(BUILD)/insert_loop: bench/insert_loop.c $(BUILD)/sidecar/document.o        \
                      $(BUILD)/sidecar/utf8.o $(BUILD)/libsluice.a bench/sample.h
	$(BENCH_C) $(MONGOC_CFLAGS) $(filter-out %.h,$^) $(MONGOC_LIBS) -o $@

.PHONY: bench
bench: ready $(addprefix $(BUILD)/,load micro producer insert_loop) ## figures, and build/bench.json; QUICK=1: in under 50 s
	@$(PYTHON) bench/run.py --build $(BUILD) $(if $(QUICK),--quick)
