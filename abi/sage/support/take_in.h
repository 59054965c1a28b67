/* take_in.h: the struct_size rule, once, for every entry.
 *
 * A shorter struct is zero-extended (its writer is older). No version of a struct has a size that is no multiple of 8,
 * so a shorter one of such a size is garbage: it would cut a field, and half a pointer is an address. A longer one
 * passes only if what we do not know is zero: else its writer set something, and dropping a softcap silently is a wrong
 * answer. Not ABI: compiled into each side.
 */
#ifndef SAGE_TAKE_IN_H_
#define SAGE_TAKE_IN_H_
#include <string.h>
#include "sage/types.h"

#define SAGE_STRUCT_MIN 8u    /* a size below is garbage or unset */
#define SAGE_STRUCT_MAX 4096u /* a size above is garbage; we must not scan it */

/* Copies the request *theirs into *mine (mine_size bytes). theirs may be at any alignment. */
static inline sage_status sage_take_in(void* mine, uint32_t mine_size, const void* theirs) {
  uint32_t size = 0;
  const unsigned char* bytes = (const unsigned char*)theirs;
  if (theirs == 0) return SAGE_E_INVALID_ARGUMENT;
  memcpy(&size, theirs, sizeof size);
  if (size < SAGE_STRUCT_MIN || size > SAGE_STRUCT_MAX) return SAGE_E_INVALID_ARGUMENT;
  if (size < mine_size && size % 8 != 0) return SAGE_E_INVALID_ARGUMENT;
  for (uint32_t i = mine_size; i < size; ++i)
    if (bytes[i] != 0) return SAGE_E_UNKNOWN_FIELD;
  memset(mine, 0, mine_size);
  memcpy(mine, theirs, size < mine_size ? size : mine_size);
  memcpy(mine, &mine_size, sizeof mine_size); /* from here on it is our struct */
  return SAGE_OK;
}

/* The reverse, for out-structs: writes to the caller's size only and leaves that size as it was. */
static inline void sage_give_out(void* theirs, const void* mine, uint32_t mine_size) {
  uint32_t size = 0;
  if (theirs == 0) return;
  memcpy(&size, theirs, sizeof size);
  if (size < SAGE_STRUCT_MIN || size > SAGE_STRUCT_MAX) return;
  if (size > mine_size) memset((unsigned char*)theirs + mine_size, 0, size - mine_size);
  if (mine_size > size) mine_size = size;
  memcpy((unsigned char*)theirs + sizeof size, (const unsigned char*)mine + sizeof size, mine_size - sizeof size);
}
#endif
