/* It writes to its input. */
#define NAME "changes_input"
#define ON_RUN \
  if (count > 0) ((volatile char*)args->slots[0]->data)[0] ^= 1;
#include "honest.h"
