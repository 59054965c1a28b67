/* The plan wants more workspace than ask promised. */
#define NAME "workspace_lie"
#define ON_PLAN mine.workspace_bytes = 1 << 20;
#include "honest.h"
