/* loopless: BPF programs for kernels that know no bpf_loop, nor the pointers to functions that it takes (5.13).
 *
 * The programs do not come to those instructions there (`use_loop` is false), but kernels before 5.13 refuse a program
 * that has one anywhere. So each is made a call of the same function, just before the program is loaded: never carried
 * out either, and known to every kernel.
 */
#ifndef KT_CAPTURE_LOOPLESS_H
#define KT_CAPTURE_LOOPLESS_H

/* Handlers of libbpf's for the kinds of programs that we have, between these two calls: what is opened and loaded
 * meanwhile is made so. Not for two threads at once. 0 or negative errno. */
int loopless_begin(void);
void loopless_end(void);

#endif
