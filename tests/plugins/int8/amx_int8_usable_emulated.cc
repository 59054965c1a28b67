// amx_int8_usable_emulated.cc: emulated tiles can always be used; in place of plugins/int8/amx_int8_usable.cc. The
// caller has seen to it that there is AVX-512.
#include "amx_int8_usable.h"

namespace sage::int8 {

bool AmxInt8Usable() { return true; }

}  // namespace sage::int8
