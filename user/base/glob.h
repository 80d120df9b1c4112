/* glob: * any run of bytes, ? any one byte. */
#ifndef KT_BASE_GLOB_H
#define KT_BASE_GLOB_H

#include "base/span.h"

/* Does all of the text match? `fold`: without regard to ASCII case. Time is at most the product of both lengths. */
bool glob_match(struct span glob, struct span text, bool fold);

#endif
