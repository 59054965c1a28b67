/* It writes to stdout. */
#define NAME "prints"
#define ON_CREATE puts("hello from a plugin");
#include <stdio.h>
#include "honest.h"
