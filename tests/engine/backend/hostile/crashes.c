/* It dies in run. */
#define NAME "crashes"
#define ON_RUN abort();
#include <stdlib.h>
#include "honest.h"
