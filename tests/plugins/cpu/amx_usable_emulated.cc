// amx_usable_emulated.cc: emulated tiles can always be used; in place of plugins/cpu/amx_usable.cc. The caller has seen
// to it that there is AVX-512.
#include "amx_usable.h"

namespace sage::cpu {

bool AmxUsable() { return true; }

}  // namespace sage::cpu
