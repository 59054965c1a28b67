// families.h: the families of kernels that are linked into the plugin.
#ifndef SAGE_PLUGINS_CUDA_FAMILIES_H_
#define SAGE_PLUGINS_CUDA_FAMILIES_H_

#include <span>

#include "kernel_family.h"
#include "sage/attention.h"

namespace sage::cuda {

// What each serves, of sizes and strides that it does not refuse. Not among them: CSR_MASK, DROPOUT, QUANT_SCALES.
constexpr uint64_t kHopperFeatures =
    SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_WINDOW_LEFT |
    SAGE_ATTN_F_WINDOW_RIGHT | SAGE_ATTN_F_VARLEN | SAGE_ATTN_F_Q_LENGTHS | SAGE_ATTN_F_KV_LENGTHS |
    SAGE_ATTN_F_PAGED_KV | SAGE_ATTN_F_APPEND_KV | SAGE_ATTN_F_LSE | SAGE_ATTN_F_DV_DIFFERS | SAGE_ATTN_F_HV_DIFFERS;
constexpr uint64_t kPortableFeatures = kHopperFeatures | SAGE_ATTN_F_BIAS | SAGE_ATTN_F_BOOL_MASK |
                                       SAGE_ATTN_F_BIT_MASK | SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_ALIBI |
                                       SAGE_ATTN_F_SOFTCAP | SAGE_ATTN_F_SINKS;
constexpr uint64_t kDecodeFeatures = kPortableFeatures;
constexpr uint64_t kInt8Features = kPortableFeatures;
constexpr uint64_t kPlainFeatures = kPortableFeatures | SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT;

// Of all of them: what the table declares.
constexpr uint64_t kLinkedFeatures = kPlainFeatures;

// For ever valid.
std::span<const KernelFamily> LinkedFamilies();

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_FAMILIES_H_
