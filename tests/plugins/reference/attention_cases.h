// attention_cases.h: one run that must succeed, and one sequence of a batch as a call of its own.
#ifndef SAGE_TESTS_PLUGINS_REFERENCE_ATTENTION_CASES_H_
#define SAGE_TESTS_PLUGINS_REFERENCE_ATTENTION_CASES_H_

#include <doctest/doctest.h>

#include "reference_table.h"

namespace sage::test {

inline void Run(AttentionCase& c) {
  Reference reference(2);
  REQUIRE(Failure(c.Run(reference.instance)) == "");
}

// One sequence of a batch as a dense call of its own: rows [q_from, q_from + q_len) and keys [k_from, k_from + k_len).
inline AttentionCase Alone(const AttentionCase& c, int64_t b, int64_t q_from, int64_t q_len, int64_t k_from,
                           int64_t k_len, bool packed) {
  const OwnedTensor &q = c[SAGE_ATTN_Q], &k = c[SAGE_ATTN_K], &v = c[SAGE_ATTN_V];
  const uint32_t last = packed ? 2 : 3;
  AttentionCase one(q.dtype(), {1, q.dim(1), k.dim(1), q_len, k_len, q.dim(last), v.dim(last), v.dim(1)}, 0);
  one.attributes = c.attributes;
  one.attributes.max_seq_q = one.attributes.max_seq_kv = 0;
  const auto copy = [&](uint32_t slot, int64_t from) {
    for (int64_t h = 0; h < one[slot].dim(1); ++h)
      for (int64_t s = 0; s < one[slot].dim(2); ++s)
        for (int64_t d = 0; d < one[slot].dim(3); ++d)
          one[slot].Set({0, h, s, d}, packed ? c[slot].At({from + s, h, d}) : c[slot].At({b, h, from + s, d}));
  };
  copy(SAGE_ATTN_Q, q_from);
  copy(SAGE_ATTN_K, k_from);
  copy(SAGE_ATTN_V, k_from);
  for (const uint32_t slot : {SAGE_ATTN_ALIBI, SAGE_ATTN_SINKS}) one[slot] = c[slot];
  return one.WithLse();
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_REFERENCE_ATTENTION_CASES_H_
