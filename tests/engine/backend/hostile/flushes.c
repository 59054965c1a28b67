/* It leaves denormals flushed to zero for everybody after it. */
#define NAME "flushes"
#if defined(__SSE__)
#include <xmmintrin.h>
#define ON_RUN _mm_setcsr(_mm_getcsr() | 0x8040u);
#endif
#include "honest.h"
