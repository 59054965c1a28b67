/* It reads one element behind X. */
#define NAME "reads_too_far"
#define ON_RUN ((volatile char*)args->workspace)[0] = ((const volatile char*)x)[count * 4];
#include "honest.h"
