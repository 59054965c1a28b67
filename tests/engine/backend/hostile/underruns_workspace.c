/* It writes before its workspace. */
#define NAME "underruns_workspace"
#define ON_RUN ((unsigned char*)args->workspace)[-1] = 1;
#include "honest.h"
