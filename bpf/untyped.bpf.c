/* untyped: the same programs for a kernel that has no type information of its own. What they need to know of it comes
 * from a file; what such a kernel refuses (typed pointers, kernel functions) is left out.
 */
#define KT_UNTYPED
#include "kongtap.bpf.c"
