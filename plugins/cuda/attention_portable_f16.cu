// attention_portable_f16.cu: the portable kernel in f16, and the choice between the two types.
#include "attention_launch.h"
#include "attention_portable_launch.h"

namespace sage::cuda {

int LaunchPortableF16(const AttentionArguments& a, void* stream) { return LaunchPortableOf<F16>(a, stream); }

int LaunchPortable(const AttentionArguments& a, void* stream) {
  return a.type == AttentionType::kF16 ? LaunchPortableF16(a, stream) : LaunchPortableBf16(a, stream);
}

}  // namespace sage::cuda
