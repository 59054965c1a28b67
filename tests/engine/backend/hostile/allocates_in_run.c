/* It asks the host for memory while it runs. */
#define NAME "allocates_in_run"
#define ON_RUN                                                                   \
  void* memory = NULL;                                                           \
  (void)plan->host->alloc(plan->host->self, SAGE_CPU, 0, 100, 64, &memory, err); \
  plan->host->free(plan->host->self, SAGE_CPU, 0, memory);
#include "honest.h"
