/* A cost that compares with nothing. */
#define NAME "nan_cost"
#define ON_ASK \
  if (mine.verdict == SAGE_YES) mine.cost_ns = NAN;
#include "honest.h"
