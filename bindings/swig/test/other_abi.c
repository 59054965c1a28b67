/* other_abi.c: as much of a libsage of ABI 2.0 as a binding looks at before it refuses it. */
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT uint32_t sage_abi_version(void);
EXPORT const char* sage_version(void);

uint32_t sage_abi_version(void) { return 2u << 16; }
const char* sage_version(void) { return "9.9.9"; }
