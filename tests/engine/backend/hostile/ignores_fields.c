/* YES to what it does not know. */
#define NAME "ignores_fields"
#define ON_ASK                                                                                            \
  if (op->kind == SAGE_OP_UNARY && mine.verdict == SAGE_NO) {                                             \
    const sage_answer yes = {sizeof yes, SAGE_YES, 0, 1, SAGE_COST_RULE, SAGE_ACCURACY_EXACT, 0, "sure"}; \
    mine = yes;                                                                                           \
  }
#include "honest.h"
