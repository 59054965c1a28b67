/* It writes behind its workspace. */
#define NAME "overruns_workspace"
#define ON_RUN ((unsigned char*)args->workspace)[args->workspace_bytes] = 1;
#include "honest.h"
