/* Of 64 bytes of workspace its plan says that more are packed keys. */
#define NAME "parts_lie"
#define ON_PLAN mine.packed_kv_bytes = 40, mine.partials_bytes = 40;
#include "honest.h"
