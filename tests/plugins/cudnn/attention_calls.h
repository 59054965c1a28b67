// attention_calls.h: attention calls by what is asked of them, with operands that lie as a model would lay them: what
// is put to cuDNN in tests of plans and in the acceptance table.
//
// Unlike attention_mixtures.h, which draws any call at all, these are calls that cuDNN is meant to take.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_ATTENTION_CALLS_H_
#define SAGE_TESTS_PLUGINS_CUDNN_ATTENTION_CALLS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/cuda/attention_arguments.h"
#include "support/attention_case.h"

namespace sage::test {

// Axes of BIAS that have a row for each; the others repeat.
enum class BiasForm { kNone, kWhole, kWholeF32, kHeads, kBatches, kOne };

struct AttentionCall {
  sage_dtype dtype = SAGE_BF16;
  int64_t batch = 2, heads_q = 8, heads_k = 2, seq_q = 512, seq_kv = 512, dim_qk = 128, dim_v = 128;
  bool rows_first = false;  // [B,S,H,D] in memory
  bool packed = false;      // [T,H,D], sequences of different lengths
  bool lengths = false;     // keys in use by sequence; with several queries their rows, too
  int64_t page = 0;         // keys of a page; 0: not paged
  bool causal = false, bottom_right = false;
  int64_t window_left = -1, window_right = -1;
  BiasForm bias = BiasForm::kNone;
  bool alibi = false, softcap = false, sinks = false, lse = false, dropout = false;

  bool positions() const { return causal || window_left >= 0 || window_right >= 0 || alibi; }
};

// Its tensors, full of zeros but for lengths, offsets and pages.
AttentionCase Laid(const AttentionCall& call);
// Numbers in all that is read, seeded.
void FillOperands(AttentionCase& attention, uint64_t seed);

// The call as the plugin reads it, addresses aside. extras (optional): of fp8 and dropout. Empty, or why it is no call
// at all.
std::string Read(const AttentionCase& attention, cuda::AttentionArguments* arguments, uint64_t* features,
                 cuda::AttentionExtras* extras = nullptr);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_ATTENTION_CALLS_H_
