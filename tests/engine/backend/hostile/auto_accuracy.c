/* YES without saying how exact. */
#define NAME "auto_accuracy"
#define ON_ASK \
  if (mine.verdict == SAGE_YES) mine.accuracy = SAGE_ACCURACY_AUTO;
#include "honest.h"
