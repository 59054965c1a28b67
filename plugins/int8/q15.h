// q15.h: attention of 16-bit codes in integers alone, for machines without floating point; on others it is the class
// LOSSY's most accurate member.
//
// Q, K and V are i16 with one scale for each tensor or head: value = scale x code. Pure Q15 is the scale 2^-15. O is
// i16 with its own scale, or floats. What is computed, for one query:
//
//   s[j] = q . k[j]                     exact, in 64 bits
//   x[j] = (max s - s[j]) x factor      26 fraction bits; factor = scale x SCALE_Q x SCALE_K x log2(e), of 32 bits
//   w[j] = 2^-x[j]                      30 fraction bits, by a polynomial; nothing from 2^-31 down
//   o    = sum w[j] v[j] / sum w[j]     both sums exact, in 64 bits; times SCALE_V / SCALE_O, rounded once
//
// Sums of integers have no order: the keys may be permuted and the work cut as one likes, on any instruction set, and
// not a bit changes. With n keys O is within (n 2^-30 + 2^-22) max|V| of the exact result, and half a step of O.
//
// Floats occur where a call's scales become factors, once a head, and where O is a float. A machine without any has
// these factors computed beforehand (q15_numbers.h) and O in i16.
#ifndef SAGE_PLUGINS_INT8_Q15_H_
#define SAGE_PLUGINS_INT8_Q15_H_

#include <cstdint>
#include <memory>

#include "cpu/family.h"
#include "sage/attention.h"

namespace sage::int8 {

using plugins::KernelPlan;
using support::OpView;

constexpr uint64_t kQ15Features = SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT |
                                  SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT | SAGE_ATTN_F_VARLEN |
                                  SAGE_ATTN_F_Q_LENGTHS | SAGE_ATTN_F_KV_LENGTHS | SAGE_ATTN_F_PAGED_KV |
                                  SAGE_ATTN_F_APPEND_KV | SAGE_ATTN_F_QUANT_SCALES | SAGE_ATTN_F_DV_DIFFERS |
                                  SAGE_ATTN_F_HV_DIFFERS;

// Sums over keys of a weight, below 2^30, times a code, at most 2^15, stay below 2^63.
constexpr int64_t kQ15LongestRow = int64_t{1} << 18;
// A difference of two scores, below head dimension x 2^31, then has 47 bits. Their upper 32 are multiplied.
constexpr int64_t kQ15LongestHead = int64_t{1} << 16;

// Keys of the longest sequence there can be.
int64_t Q15LongestKv(const OpView& view);

// Whether the op is this family's: attention whose Q or K is i16. view passed CheckOp.
bool IsQ15(const OpView& view);

// True where *answer has become NO: q15_support.cc.
bool RefuseQ15(const OpView& view, uint64_t features, sage_answer* answer);

// As a family of the cpu backend (cpu/family.h); the context's isa says which kernels.
void AskQ15(const cpu::Context& context, const OpView& view, uint64_t features, sage_answer* answer);
sage_status PlanQ15(const cpu::Context& context, const OpView& view, uint64_t features, const KernelPlan* like,
                    std::unique_ptr<KernelPlan>* out, sage_error* err);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_Q15_H_
