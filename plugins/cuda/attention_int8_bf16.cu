// attention_int8_bf16.cu: attention whose Q K^T is in 8 bits, of bf16 operands.
#include "attention_int8_launch.h"

namespace sage::cuda {

int LaunchInt8Bf16(const AttentionArguments& a, void* workspace, void* stream) {
  return LaunchInt8Of<Bf16>(a, workspace, stream);
}

}  // namespace sage::cuda
