/* A shared library, but no plugin. */
#define ENTRY another_function
#include "honest.h"
