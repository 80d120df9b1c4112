#include "capture/loopless.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <errno.h>
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

static int handlers[KINDS]; /* of libbpf's, which has one list of them for the whole process; 0: none */

static int without_pointers(struct bpf_program *p, struct bpf_prog_load_opts *opts, long cookie)
{
	size_t n = bpf_program__insn_cnt(p), found = 0;
	struct bpf_insn *insns = malloc(n * sizeof(*insns));
	int err = 0;

	(void)opts;
	(void)cookie;
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
		int r = libbpf_register_prog_handler(kinds[i].section, kinds[i].type, (enum bpf_attach_type)0, &opts);

		if (r < 0) {
			loopless_end();
			return r;
		}
		handlers[i] = r;
	}
	return 0;
}

void loopless_end(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (handlers[i])
			libbpf_unregister_prog_handler(handlers[i]);
		handlers[i] = 0;
	}
}
