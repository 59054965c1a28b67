// problem.h: the problem string, one line that names any attention problem, and the one derivation of feature bits.
//
//   b2.hq32.hkv8.sq1.skv4096.d128.f16:causal=br,window=1024,page=16,softcap=50      grammar: docs/problem-string.md
//
// The same code prints and parses it for explain, logs, traces, test names, errors and the bench, so that every report
// can be reproduced with `sage-engine bench --attn '<that line>'`.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_H_
#define SAGE_ENGINE_PLAN_PROBLEM_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "sage/ops.h"
#include "status.h"

namespace sage {

// All SAGE_ATTN_F_* of an attention op: the caller's four bits, and what slots, shapes and numbers show. Refuses a bit
// or number that contradicts them (alignment missing where positions are used, window without its bit ...), and
// whatever CheckOp (sage/support/check_op.h) refuses.
Status AttentionFeatures(const sage_op& op, uint64_t* out);

// Of an attention op, or "linear m128.n768.k768.f32" and the like for other kinds.
std::string ProblemString(const sage_op& op);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_H_
