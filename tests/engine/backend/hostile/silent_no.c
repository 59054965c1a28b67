/* NO without a reason. */
#define NAME "silent_no"
#define ON_ASK \
  if (mine.verdict == SAGE_NO) mine.reason[0] = 0;
#include "honest.h"
