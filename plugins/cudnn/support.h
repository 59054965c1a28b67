// support.h: which attention calls are put to cuDNN, and how each is said to it.
//
// The rules are those of cuDNN's documentation and of its known errors. What cuDNN would take and compute as another
// formula than sage/attention.h, or is known or suspected to compute wrongly, is refused here with the reason: whatever
// is left over is another backend's.
#ifndef SAGE_PLUGINS_CUDNN_SUPPORT_H_
#define SAGE_PLUGINS_CUDNN_SUPPORT_H_

#include <cstdint>
#include <string>

#include "common/cuda/attention_arguments.h"
#include "sage/attention.h"
#include "sdpa.h"

namespace sage::cudnn {

// SAGE_ATTN_F_* that some graph here has.
constexpr uint64_t kFeatures = SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT |
                               SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT | SAGE_ATTN_F_BIAS |
                               SAGE_ATTN_F_ALIBI | SAGE_ATTN_F_SOFTCAP | SAGE_ATTN_F_SINKS | SAGE_ATTN_F_VARLEN |
                               SAGE_ATTN_F_Q_LENGTHS | SAGE_ATTN_F_KV_LENGTHS | SAGE_ATTN_F_PAGED_KV | SAGE_ATTN_F_LSE |
                               SAGE_ATTN_F_DV_DIFFERS | SAGE_ATTN_F_DROPOUT | SAGE_ATTN_F_QUANT_SCALES;

// What is installed.
struct Installed {
  size_t version = 0;  // of cuDNN, 91900 for 9.19.0
  int sm = 0;          // 90 for compute capability 9.0
};

// True: *out is the call as cuDNN is asked for it. False: *why says which rule it breaks, in a sentence. Pointers of
// arguments are not looked at but for which are null.
bool DescribeSdpa(const cuda::AttentionArguments& arguments, uint64_t features, const Installed& installed, Sdpa* out,
                  std::string* why, const cuda::AttentionExtras& extras = {});

// The mask of dropout in the workspace, at most: of 16 sequences of 2048, of 16 heads. It is read once a run, so that
// what is larger is slow besides.
constexpr int64_t kMostMaskBytes = int64_t{2} << 30;
// What a mask takes: B * Hq * Sq rows of keys in Q's type, each of whole 16 bytes.
int64_t MaskBytes(const Sdpa& sdpa);

// Whether cuDNN's unified op says all of a described call: attention within lengths and by pages, no mask and nothing
// done to scores. Of any other it would leave that out without a word.
bool UnifiedHas(const Sdpa& sdpa, size_t version);

// Whether rows may come out of cuDNN otherwise than the ABI has them, so that a kernel goes over them (call.h).
bool NeedsFinish(const Sdpa& sdpa, bool moves_statistics);
// Whether LSE [B,Hq,Sq] lies where cuDNN can write it; else it is put into the workspace first.
bool StatisticsInPlace(const cuda::AttentionArguments& arguments);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_SUPPORT_H_
