/* Memory of the host that is never given back. */
#define NAME "leaks"
#define ON_PLAN (void)host->alloc(host->self, SAGE_CPU, 0, 100, 64, &memory, err);
#include "honest.h"
