/* verifier: every program that is for this kernel loads, with and without what kernels have in common up to it, and how
 * many instructions the verifier looked at for it. A program that grows beyond its bound here will sooner or later be
 * refused by an older kernel.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "capture.h"
#include "capture/features.h"
#include "capture/loopless.h"
#include "kongtap.skel.h"

/* The kernel's own limit is 1,000,000. */
#define WITH_LOOP 200000
#define WITHOUT_LOOP 300000

static unsigned passed, failed;

static void check(bool good, const char *name, const char *why)
{
	printf("%s - %s: %s\n", good ? "ok" : "FAIL", name, why);
	*(good ? &passed : &failed) += 1;
}

static void judge(const struct bpf_program *p, const char *way, unsigned bound)
{
	struct bpf_prog_info info = {0};
	unsigned len = sizeof(info);
	char name[96], why[96];

	snprintf(name, sizeof(name), "%s %s", bpf_program__name(p), way);
	if (bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len)) {
		check(false, name, "no information");
		return;
	}
	snprintf(why, sizeof(why), "%u instructions, %u verified, at most %u", info.xlated_prog_len / 8,
		info.verified_insns, bound);
	check(info.verified_insns <= bound, name, why);
}

/* Whether the agent would load it here: see choose_programs in user/capture/kernel.c. The kernels that spares are for
 * have bpf_loop. */
static bool applies(const struct bpf_program *p, const struct features *f, bool loop)
{
	const char *section = bpf_program__section_name(p);

	if (strncmp(bpf_program__name(p), "spare_", 6) == 0 && (!loop || f->has[FEATURE_STEADY]))
		return false;
	if (strcmp(section, "syscall") == 0)
		return f->has[FEATURE_TELL];
	return strncmp(section, "tp/", 3) != 0 || f->has[FEATURE_PT_REGS];
}

static void load(const struct features *f, const char *way, bool loop, bool exact)
{
	int err = loop ? 0 : loopless_begin();
	struct kongtap_bpf *skel = err ? NULL : kongtap_bpf__open();
	struct bpf_program *p;

	if (!skel) {
		check(false, way, "cannot be opened");
		return;
	}
	skel->rodata->use_loop = loop;
	skel->rodata->use_guard = f->has[FEATURE_GUARD];
	skel->rodata->use_exact = exact;
	skel->rodata->use_spares = !f->has[FEATURE_STEADY];
	bpf_object__for_each_program(p, skel->obj) bpf_program__set_autoload(p, applies(p, f, loop));
	err = kongtap_bpf__load(skel);
	if (!loop)
		loopless_end();
	if (err) {
		check(false, way, "does not load");
	} else {
		bpf_object__for_each_program(p, skel->obj)
		{
			if (applies(p, f, loop))
				judge(p, way, loop ? WITH_LOOP : WITHOUT_LOOP);
		}
	}
	kongtap_bpf__destroy(skel);
}

/* With an argument: only the way that the agent takes on this kernel. */
int main(int argc, char **argv)
{
	struct features f;

	(void)argv;
	if (features_probe(NULL, NULL, &f))
		return 2;
	if (f.has[FEATURE_LOOP])
		load(&f, "with bpf_loop", true, f.has[FEATURE_EXACT]);
	if (f.has[FEATURE_EXACT] && argc == 1)
		load(&f, "with rooms in classes", true, false);
	if (!f.has[FEATURE_LOOP] || argc == 1)
		load(&f, "without bpf_loop", false, false);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
