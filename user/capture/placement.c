#include "capture/placement.h"

#include <string.h>

/* What an instruction means to us. */
enum op {
	OP_ENDBR,      /* endbr64 */
	OP_NOP,	       /* emulated */
	OP_PUSH,       /* emulated */
	OP_FRAME,      /* sub $imm,%rsp */
	OP_CANARY,     /* mov %fs:0x28,%rax */
	OP_CANARY_PUT, /* mov %rax,imm(%rsp) */
	OP_ZERO_EAX,   /* xor %eax,%eax */
	OP_TEST_LEN,   /* test %edx,%edx */
	OP_TEST_ARG,   /* test %rdi,%rdi */
	OP_JS,	       /* emulated, as every conditional jump */
	OP_JZ,
	OP_JLE,
	OP_JG,
	OP_COUNT_ADDR, /* lea imm(%rsp),%rcx */
	OP_EXTEND,     /* movslq %edx,%rdx */
	OP_CALL,       /* call rel32: emulated */
	OP_TEST_RET,   /* test %eax,%eax */
	OP_COUNT_LOAD, /* mov imm(%rsp),%eax */
};

struct form {
	enum op op;
	uint8_t n;   /* bytes before the immediate */
	uint8_t imm; /* its size: 0, 1, 4 */
	uint8_t bytes[9];
};

/* No form is the beginning of another. An absent immediate counts as 0. */
static const struct form forms[] = {
	{OP_ENDBR, 4, 0, {0xf3, 0x0f, 0x1e, 0xfa}},
	{OP_NOP, 1, 0, {0x90}},
	{OP_NOP, 2, 0, {0x66, 0x90}},
	{OP_PUSH, 1, 0, {0x53}},
	{OP_PUSH, 1, 0, {0x55}},
	{OP_PUSH, 2, 0, {0x41, 0x54}},
	{OP_PUSH, 2, 0, {0x41, 0x55}},
	{OP_PUSH, 2, 0, {0x41, 0x56}},
	{OP_PUSH, 2, 0, {0x41, 0x57}},
	{OP_FRAME, 3, 1, {0x48, 0x83, 0xec}},
	{OP_CANARY, 9, 0, {0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0x00, 0x00, 0x00}},
	{OP_CANARY_PUT, 4, 1, {0x48, 0x89, 0x44, 0x24}},
	{OP_CANARY_PUT, 4, 0, {0x48, 0x89, 0x04, 0x24}},
	{OP_ZERO_EAX, 2, 0, {0x31, 0xc0}},
	{OP_TEST_LEN, 2, 0, {0x85, 0xd2}},
	{OP_TEST_ARG, 3, 0, {0x48, 0x85, 0xff}},
	{OP_JS, 1, 1, {0x78}},
	{OP_JS, 2, 4, {0x0f, 0x88}},
	{OP_JZ, 1, 1, {0x74}},
	{OP_JZ, 2, 4, {0x0f, 0x84}},
	{OP_JLE, 1, 1, {0x7e}},
	{OP_JLE, 2, 4, {0x0f, 0x8e}},
	{OP_JG, 1, 1, {0x7f}},
	{OP_JG, 2, 4, {0x0f, 0x8f}},
	{OP_COUNT_ADDR, 4, 1, {0x48, 0x8d, 0x4c, 0x24}},
	{OP_COUNT_ADDR, 3, 0, {0x48, 0x89, 0xe1}},
	{OP_EXTEND, 3, 0, {0x48, 0x63, 0xd2}},
	{OP_CALL, 1, 4, {0xe8}},
	{OP_TEST_RET, 2, 0, {0x85, 0xc0}},
	{OP_COUNT_LOAD, 3, 1, {0x8b, 0x44, 0x24}},
	{OP_COUNT_LOAD, 3, 0, {0x8b, 0x04, 0x24}},
};

struct insn {
	enum op op;
	uint32_t at, len;
	int32_t imm;
};

static int32_t immediate(const uint8_t *p, uint8_t size)
{
	int32_t wide;

	if (size == 0)
		return 0;
	if (size == 1)
		return (int8_t)*p;
	memcpy(&wide, p, sizeof(wide)); /* little endian here as there: nobody else has x86 libraries mapped */
	return wide;
}

/* The instruction at `at`, if it is in the table. */
static bool decode(const uint8_t *code, size_t n, size_t at, struct insn *ret)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		const struct form *f = &forms[i];

		if (at > n || n - at < (size_t)f->n + f->imm || memcmp(code + at, f->bytes, f->n) != 0)
			continue;
		*ret = (struct insn){
			.op = f->op,
			.at = (uint32_t)at,
			.len = (uint32_t)f->n + f->imm,
			.imm = immediate(code + at + f->n, f->imm),
		};
		return true;
	}
	return false;
}

/* What has been seen on the way to the call. */
struct setup {
	bool frame, canary, tested, checked, count, extended;
	int32_t frame_size, count_at;
};

/* One instruction before the call. False: not here, or not twice. */
static bool set_up(struct setup *s, const struct insn *i)
{
	switch (i->op) {
	case OP_ENDBR:
		return i->at == 0;
	case OP_FRAME:
		if (s->frame || i->imm < 8)
			return false;
		s->frame_size = i->imm;
		return s->frame = true;
	case OP_CANARY:
		if (s->canary || !s->frame)
			return false;
		return s->canary = true;
	case OP_CANARY_PUT:
	case OP_ZERO_EAX:
		return s->canary && !s->checked;
	case OP_TEST_LEN:
		if (s->tested)
			return false;
		return s->tested = true;
	case OP_JS:
		if (!s->tested || s->checked || i->imm <= 0)
			return false;
		return s->checked = true;
	case OP_COUNT_ADDR:
		if (s->count || !s->frame || i->imm < 0 || i->imm > s->frame_size - 8)
			return false;
		s->count_at = i->imm;
		return s->count = true;
	case OP_EXTEND:
		if (s->extended || !s->checked)
			return false;
		return s->extended = true;
	default:
		return false;
	}
}

bool placement_find(const uint8_t *code, size_t n, struct placement *ret)
{
	struct setup s = {0};
	struct insn call, i;
	size_t at = 0;

	for (;; at += i.len) {
		if (!decode(code, n, at, &i))
			return false;
		if (i.op == OP_CALL)
			break;
		/* Between the test and its jump nothing may touch the flags: only the lea or mov could come there. */
		if (!set_up(&s, &i))
			return false;
	}
	call = i;
	if (!s.frame || !s.checked || !s.count || !s.extended)
		return false;
	if (!decode(code, n, call.at + call.len, &i) || i.op != OP_TEST_RET)
		return false;
	if (!decode(code, n, i.at + i.len, &i) || (i.op != OP_JLE && i.op != OP_JG))
		return false;
	ret->call = call.at;
	ret->jump = i.at;
	/* The count is loaded where the result is positive: after the jump, or at its target. */
	at = (size_t)i.at + i.len;
	if (i.op == OP_JG) {
		if (i.imm <= 0)
			return false;
		at += (size_t)i.imm;
	}
	return decode(code, n, at, &i) && i.op == OP_COUNT_LOAD && i.imm == s.count_at;
}

uint32_t placement_entry(const uint8_t *code, size_t n)
{
	struct insn i;

	for (size_t at = 0; decode(code, n, at, &i); at += i.len) {
		switch (i.op) {
		case OP_PUSH:
		case OP_NOP:
		case OP_JZ:
		case OP_JS:
		case OP_CALL:
			return i.at;
		case OP_ENDBR:
		case OP_FRAME:
		case OP_CANARY:
		case OP_CANARY_PUT:
		case OP_ZERO_EAX:
		case OP_TEST_ARG:
		case OP_TEST_LEN:
			break;
		default:
			return 0;
		}
	}
	return 0;
}
