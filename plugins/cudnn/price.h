// price.h: what a run of attention by cuDNN costs: what the table of rates says of it, its calls' own cost, and the
// kernels of ours around it. A model of large problems: which of its engines cuDNN takes nobody outside it knows.
#ifndef SAGE_PLUGINS_CUDNN_PRICE_H_
#define SAGE_PLUGINS_CUDNN_PRICE_H_

#include <cstdint>

#include "common/cuda/attention_rates.h"

namespace sage::cudnn {

// Nanoseconds. Pointers of arguments are not looked at; features (SAGE_ATTN_F_*) say what is read and written of
// [B,Hq,Sq,Skv]. prepares: a kernel of ours runs ahead, that makes what cuDNN reads of lengths, packed rows or pages;
// finishes: one runs behind, that reads O. *source: where the price comes from, in words that follow "priced by ";
// valid as long as rates. Without a row for the device, half of its peak, and an estimate. Pure.
double CudnnPriceNs(const cuda::AttentionArguments& arguments, uint64_t features, const cuda::Properties& device,
                    const cuda::AttentionRates& rates, bool prepares, bool finishes, const char** source);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_PRICE_H_
