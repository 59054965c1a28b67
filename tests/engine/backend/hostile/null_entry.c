/* An entry is null. */
#define NAME "null_entry"
#define RUN (sizeof(&run) != 0 ? NULL : run)
#include "honest.h"
