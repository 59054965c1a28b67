/* No fault: the kit and the loader must have nothing to say. */
#include "honest.h"
