// attention_amx_emulated_beside.cc: the same under names of their own.
#define SAGE_EMULATED_BESIDE
#include "attention_amx_emulated.cc"
