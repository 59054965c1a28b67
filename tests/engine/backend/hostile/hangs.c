/* run never returns. */
#define NAME "hangs"
#define ON_RUN \
  while (args != NULL) pause();
#define _DEFAULT_SOURCE
#include <unistd.h>
#include "honest.h"
