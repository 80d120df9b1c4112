#include "capture/loopless.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KINDS 3

static const struct {
	const char *section;
	enum bpf_prog_type type;
} kinds[KINDS] = {
	{"raw_tp/", BPF_PROG_TYPE_RAW_TRACEPOINT},
	{"tp/", BPF_PROG_TYPE_TRACEPOINT},
	{"uprobe", BPF_PROG_TYPE_KPROBE},
};

/* libbpf has one list of handlers for the whole process, and what it does when the last one is taken out again (up
 * to 1.1 at least) is to use freed memory. So ours stay, and do something between begin and end only. */
static int handlers[KINDS]; /* 0: none yet */
static bool active;

static int without_pointers(struct bpf_program *p, struct bpf_prog_load_opts *opts, long cookie)
{
	size_t n = bpf_program__insn_cnt(p), found = 0;
	struct bpf_insn *insns = malloc(n * sizeof(*insns));
	int err = 0;

	(void)opts;
	(void)cookie;
	if (!active) {
		free(insns);
		return 0;
	}
	if (!insns)
		return -ENOMEM;
	memcpy(insns, bpf_program__insns(p), n * sizeof(*insns));
	for (size_t i = 0; i + 1 < n; i++) {
		if (insns[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (insns[i].src_reg == BPF_PSEUDO_FUNC) {
			/* Both count the way to the function from the next instruction on. */
			insns[i] = (struct bpf_insn){
				.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = insns[i].imm};
			insns[i + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_JA};
			found++;
		}
		i++;
	}
	if (found)
		err = bpf_program__set_insns(p, insns, n);
	free(insns);
	return err;
}

int loopless_begin(void)
{
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = without_pointers);

	for (size_t i = 0; i < KINDS; i++) {
		int r = handlers[i];

		if (!r)
			r = libbpf_register_prog_handler(
				kinds[i].section, kinds[i].type, (enum bpf_attach_type)0, &opts);
		if (r < 0)
			return r;
		handlers[i] = r;
	}
	active = true;
	return 0;
}

void loopless_end(void)
{
	active = false;
}
