/* Its table belongs to another major, whatever the symbol says. */
#define NAME "wrong_major"
#define MAJOR 2
#include "honest.h"
