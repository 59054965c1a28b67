/* Another answer every time. */
#define NAME "forgetful"
#define ON_ASK mine.cost_ns += (double)counter++;
static int counter;
#include "honest.h"
