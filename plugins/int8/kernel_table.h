// kernel_table.h: the kernels of an instruction set, and those of the cpu backend that stand beside them.
#ifndef SAGE_PLUGINS_INT8_KERNEL_TABLE_H_
#define SAGE_PLUGINS_INT8_KERNEL_TABLE_H_

#include "cpu/cpu_features.h"
#include "isa.h"
#include "kernels.h"

namespace sage::int8 {

const Int8Kernels& KernelsOf(Isa isa);

// What the cpu backend is to compute with beside them: its f32 kernels of about the same registers.
cpu::Isa FloatIsaOf(Isa isa);

// The same that multiply pairs of bf16, of V of any float type; null where this machine has none for `isa`.
const cpu::AttentionKernels<float>* Bf16KernelsBeside(Isa isa);

// Dots of codes; softmax and the product with V by `floats`, whose width divides that of the codes.
cpu::AttentionKernels<float> WithFloatValues(const Int8Kernels& codes, const cpu::AttentionKernels<float>& floats);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_KERNEL_TABLE_H_
