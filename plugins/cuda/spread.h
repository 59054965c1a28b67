// spread.h: how each family's launch uses the device, for its price: what keeps a kernel made for long queries from
// being taken for one query, and one made for one from the others.
#ifndef SAGE_PLUGINS_CUDA_SPREAD_H_
#define SAGE_PLUGINS_CUDA_SPREAD_H_

#include "kernel_family.h"

namespace sage::cuda {

// Of calls that the family does not refuse; DecodeSpread with the plan's splits.
Spread PlainSpread(const AttentionArguments& arguments, const Properties& device);
Spread PortableSpread(const AttentionArguments& arguments, const Properties& device);
Spread DecodeSpread(const AttentionArguments& arguments, const Properties& device);
Spread HopperSpread(const AttentionArguments& arguments, const Properties& device);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_SPREAD_H_
