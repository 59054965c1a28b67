/* One element is wrong. */
#define NAME "wrong_answer"
#define ON_RUN \
  if (count > 5) memset(y + 20, 0x40, 4);
#include "honest.h"
