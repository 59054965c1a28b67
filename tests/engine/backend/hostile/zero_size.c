/* struct_size was never set. */
#define NAME "zero_size"
#define STRUCT_SIZE 0
#include "honest.h"
