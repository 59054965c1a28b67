// amx_int8_usable.h: whether this process may multiply codes in AMX tiles.
#ifndef SAGE_PLUGINS_INT8_AMX_INT8_USABLE_H_
#define SAGE_PLUGINS_INT8_AMX_INT8_USABLE_H_

namespace sage::int8 {

// True where the processor has tiles and their products of 8-bit integers, and cpu/amx_usable.h says that this process
// may use tiles.
bool AmxInt8Usable();

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_AMX_INT8_USABLE_H_
