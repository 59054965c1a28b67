// problem_distribution.h: Q, K and V that trouble 8 bits, as activations of transformers do. `data=` of a problem
// string.
//
//   normal   about N(0,1)
//   kbias    four channels of K stand off from zero by 12, -12, 9 and -15, and those of Q are 1.5 times as large
//   sink     Q leans by 4 towards a direction in which key 0 stands out by 16: its logit is 64/sqrt(d) higher, and its
//            V is a twentieth of the others'
//   vspread  channels of V of lognormal(1.2) size, each off zero by twice its size times N(0,1)
//   all      kbias, sink and vspread; and of the tokens of Q and K one in a hundred is three times as large, in K but
//            for the four channels
//
// The four channels are 3, 17, 40 and 59 of 64, at the same places of any other length. Directions belong to a head of
// K and the heads of Q that read it, sizes and offsets to a head of V.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_DISTRIBUTION_H_
#define SAGE_ENGINE_PLAN_PROBLEM_DISTRIBUTION_H_

#include "plan/problem.h"

namespace sage {

// Fewer channels than this cannot have four biases apart.
inline constexpr int64_t kLeastBiasedDim = 4;

// Makes of Q, K and V of N(0,1), which MakeProblemTensors has filled in, those of problem.distribution. Attention with
// rows [B,H,S,D] of floats.
void ApplyDistribution(const Problem& problem);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_DISTRIBUTION_H_
