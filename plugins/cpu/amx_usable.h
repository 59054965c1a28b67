// amx_usable.h: whether this process may use AMX tiles.
#ifndef SAGE_PLUGINS_CPU_AMX_USABLE_H_
#define SAGE_PLUGINS_CPU_AMX_USABLE_H_

namespace sage::cpu {

// True where the processor has tiles and their bf16 products, and the operating system saves their registers and gave
// this process leave to use them. Linux gives it on demand, once for all threads and for good; asking again costs a
// system call. A side effect: threads' alternative signal stacks must be large enough for 8 KiB more from then on;
// where one is not, Linux refuses, and so does this.
bool AmxUsable();

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_AMX_USABLE_H_
