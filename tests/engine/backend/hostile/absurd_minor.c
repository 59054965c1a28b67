/* It asks for a minor that nobody will ever have. */
#define NAME "absurd_minor"
#define MINOR_MIN 4000000000u
#include "honest.h"
