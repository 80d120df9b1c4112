# kongtap: `make help` lists the targets. V=1 shows the commands; O=DIR builds elsewhere; SAN=1 adds ASan and UBSan.
O      ?= build
V      ?=
SAN    ?=
CC     ?= gcc
CLANG  ?= clang-14
PREFIX ?= /usr/local
DESTDIR ?=

ifeq ($(V),1)
Q :=
msg =
else
Q := @
msg = @printf '  %-8s %s\n' '$(1)' '$(2)';
MAKEFLAGS += --no-print-directory
endif

# x86 or arm64. Another than this machine's wants CC, AR and a PKG_CONFIG for it too: scripts/build-arm64.sh does that.
ARCH ?= $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
PKG_CONFIG ?= pkg-config
PKGS := libbpf libelf jansson yaml-0.1 libnghttp2 libcurl zlib libbrotlidec libzstd libpcre2-8 libcrypto libcap-ng libseccomp libmicrohttpd
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(PKGS))
LLHTTP_SRC ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp

OPT    ?= -O2
CFLAGS ?= -g
# snprintf that cuts a name or a reason short is meant to (-Wno-format-truncation).
# _FORTIFY_SOURCE wants optimisation; the sanitizers bring checks of their own and do not go with it.
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
ifeq ($(ARCH),x86)
HARDEN += -fcf-protection
endif
LDHARDEN := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack
ifeq ($(SAN),1)
OPT    := -O1
HARDEN := -fPIE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDHARDEN := -pie -fsanitize=address,undefined
else
HARDEN += -D_FORTIFY_SOURCE=2
endif
ALL_CFLAGS = -std=gnu17 -Wall -Wextra -Werror -Wformat=2 -Wno-format-truncation -Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wvla \
	-D_GNU_SOURCE $(OPT) $(CFLAGS) $(HARDEN) -Iuser -Ibpf -I$(O)/skel -isystem $(LLHTTP_INC) $(PKG_CFLAGS) -MMD -MP
LIBS = $(PKG_LIBS) -lpthread -lm

LIB_SRC := $(filter-out user/main.c,$(wildcard user/*.c user/*/*.c))
LIB_OBJ := $(LIB_SRC:user/%.c=$(O)/obj/%.o) $(O)/obj/llhttp/llhttp.o $(O)/obj/llhttp/api.o $(O)/obj/llhttp/http.o
BPF_SRC := $(wildcard bpf/*.bpf.c)
SKEL    := $(BPF_SRC:bpf/%.bpf.c=$(O)/skel/%.skel.h) $(O)/skel/page.html.h $(O)/skel/build_id.h
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT    := $(UNIT_SRC:tests/unit/%.c=$(O)/unit/%)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ    := $(FUZZ_SRC:tests/fuzz/%.c=$(O)/fuzz/%)
TOOL_SRC := $(wildcard tests/bpf/*.c tests/replay/*.c tests/bench/*.c)
TOOLS   := $(TOOL_SRC:tests/%.c=$(O)/tests/%)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: FORCE all help test-long unit-build fuzz-build tools clean vmlinux test-kong diff-kong bench bench-micro bench-profile bench-docs soak torture

all: $(O)/kongtap ## build build/kongtap

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(O)/kongtap: $(O)/obj/main.o $(O)/libkongtap.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(LDHARDEN) -o $@ $(O)/obj/main.o $(O)/libkongtap.a $(LIBS)

$(O)/libkongtap.a: $(LIB_OBJ)
	$(call msg,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/obj/%.o: user/%.c | $(SKEL)
	$(call msg,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -c -o $@ $<

# llhttp is Debian's, compiled as it comes: its warnings are not ours to mend.
$(O)/obj/llhttp/%.o: $(LLHTTP_SRC)/%.c
	$(call msg,CC,llhttp/$*.c)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu17 -O2 -g $(HARDEN) -w -I$(LLHTTP_INC) -c -o $@ $<

$(O)/skel/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.[ch] vmlinux/*.h)
	$(call msg,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) -g -O2 -Wall -Werror -target bpf -D__TARGET_ARCH_$(ARCH) -Ivmlinux -Ibpf -c -o $@ $<

$(O)/skel/%.skel.h: $(O)/skel/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN */' && bpftool gen skeleton $< name $(subst .,_,$*)_bpf && echo '/* NOLINTEND */'; } > $@

# A file as the initialiser of a character array.
$(O)/skel/page.html.h: user/ops/page.html
	$(call msg,EMBED,$<)
	$(Q)mkdir -p $(@D) && { echo "static const char page_html[] = {"; \
		od -An -v -tx1 $< | sed "s/ \([0-9a-f][0-9a-f]\)/'\\\\x\1',/g"; echo "};"; } > $@

# Written anew only when it says something else.
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
$(O)/skel/build_id.h: FORCE
	$(Q)mkdir -p $(@D) && echo '#define KONGTAP_REVISION "$(REVISION)"' > $@.new && \
		if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

unit-build: $(UNIT) ## build the unit tests
$(O)/unit/%: tests/unit/%.c $(O)/libkongtap.a
	$(call msg,UNIT,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -Itests/unit $(LDHARDEN) -o $@ $< \
		$$(sed -n 's,^/\* link: \(.*\) \*/$$,\1,p' $<) $(O)/libkongtap.a -lcmocka $(LIBS)

tools: $(TOOLS) ## build the test tools
$(O)/tests/%: tests/%.c $(O)/libkongtap.a
	$(call msg,TOOL,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDHARDEN) -o $@ $< \
		$$(sed -n 's,^/\* link: \(.*\) \*/$$,\1,p' $<) $(O)/libkongtap.a $(LIBS)

# The fuzzers get objects of their own: clang, coverage, sanitizers.
FUZZ_FLAGS = -std=gnu17 -O1 -g -D_GNU_SOURCE -fsanitize=address,undefined -fno-sanitize-recover=all -Iuser -Ibpf \
	-I$(O)/skel -isystem $(LLHTTP_INC) $(PKG_CFLAGS)
FUZZ_OBJ := $(LIB_SRC:user/%.c=$(O)/fuzzobj/%.o) $(O)/fuzzobj/llhttp/llhttp.o $(O)/fuzzobj/llhttp/api.o $(O)/fuzzobj/llhttp/http.o
$(O)/fuzzobj/%.o: user/%.c | $(SKEL)
	$(call msg,CLANG,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(O)/fuzzobj/llhttp/%.o: $(LLHTTP_SRC)/%.c
	$(call msg,CLANG,llhttp/$*.c)
	$(Q)mkdir -p $(@D) && $(CLANG) -O1 -g -w -fsanitize=address -I$(LLHTTP_INC) -c -o $@ $<
$(O)/fuzzobj/libkongtap.a: $(FUZZ_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
fuzz-build: $(FUZZ) ## build the fuzzers
$(O)/fuzz/%: tests/fuzz/%.c $(O)/fuzzobj/libkongtap.a
	$(call msg,FUZZ,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -Itests/unit -o $@ $< $(O)/fuzzobj/libkongtap.a $(LIBS)

test-long: all tools ## loads and churn at their full length, about ten minutes (root)
	KONGTAP_TEST_CHURN_SECONDS=60 python3 tests/e2e/test_http1_life.py churn_at_rate
	KONGTAP_TEST_SECONDS=60 python3 tests/e2e/test_h2.py at_saturation_tls at_saturation_clear
	KONGTAP_TEST_CALLS=100000 python3 tests/e2e/test_h2.py in_the_middle

bench: all tools ## what the agent costs the gateway, about 15 minutes (root; knobs: tests/bench/bench.py --help)
	$(Q)./scripts/install-deps.sh bench
	$(Q)python3 tests/bench/bench.py --out $(O)/bench/results.json
bench-micro: all tools ## instructions per transaction of each stage
	$(Q)python3 tests/bench/micro.py --out $(O)/bench/micro.json
bench-profile: all tools ## where the time goes in CELL (https1/1k) with the agent
	$(Q)./scripts/install-deps.sh bench
	$(Q)python3 tests/bench/bench.py --profile $(or $(CELL),https1/1k)
soak: all ## everything at once for MINUTES (20): flat and exact, or not; result into docs/BENCHMARKS.md (root)
	$(Q)./scripts/install-deps.sh test
	$(Q)python3 tests/soak/soak.py --minutes $(or $(MINUTES),20) --out $(O)/soak.json --page docs/BENCHMARKS.md
torture: all ## the fault suite with the times of a bad day, about 10 minutes; result into docs/BENCHMARKS.md (root)
	$(Q)./scripts/install-deps.sh test
	$(Q)KONGTAP_TEST_OUTAGE=120 KONGTAP_TEST_STOP=30 KONGTAP_TEST_KILLS=100 python3 tests/e2e/test_faults.py | tee $(O)/torture.log
	$(Q)python3 tests/soak/torture.py $(O)/torture.log --page docs/BENCHMARKS.md
bench-docs: ## put the results of the last bench and bench-micro into docs/BENCHMARKS.md
	$(Q)python3 tests/bench/report.py --take $(O)/bench

test-kong: all ## run the end-to-end suite against the Kong of this host (as root; see tests/gateway/kong.py)
	@python3 tests/gateway/kong.py test

diff-kong: all ## compare the Moesif plugin's events with ours on a Kong of this host; DIFF_ARGS="--calls N"
	@python3 tests/gateway/kong.py diff $(DIFF_ARGS)

vmlinux: ## print a full vmlinux.h of the running kernel
	@bpftool btf dump file /sys/kernel/btf/vmlinux format c

include deploy/install.mk

clean: ## remove the build
	rm -rf $(O)

-include $(LIB_OBJ:.o=.d) $(O)/obj/main.d $(FUZZ_OBJ:.o=.d)
