// problem.h: the problem string, one line that names any problem, and the one derivation of feature bits.
//
//   b2.hq32.hkv8.sq1.skv4096.d128.f16:causal=br,window=1024,page=16,softcap=50      grammar: docs/problem-string.md
//   linear X=f32[128,768] W=f32[768,768]! Y=f32[128,768]:act=gelu
//
// The same code prints and parses it for explain, logs, traces, test names, errors and the bench, so that every report
// can be reproduced with `sage-engine bench --attn '<that line>'`. A library of its own (sage_problem), since tools and
// tests need it without the engine.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_H_
#define SAGE_ENGINE_PLAN_PROBLEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sage/ops.h"
#include "sage/support/op_view.h"
#include "status.h"

namespace sage {

// All SAGE_ATTN_F_* of an attention op: the caller's four bits, and what slots, shapes and numbers show. Refuses a bit
// or number that contradicts them (alignment missing where positions are used, window without its bit ...), and
// whatever CheckOp (sage/support/check_op.h) refuses.
Status AttentionFeatures(const sage_op& op, uint64_t* out);

// The line of any op. An op that CheckOp refuses gives "malformed attention: <why>". Names everything that decides the
// work and the result but the data; of strides of an attention it knows row-major, bshd and "strided" (any other).
std::string ProblemString(const sage_op& op);

struct Problem;
// The same with what is of the data, mincut, data and seed: the line that makes these tensors again.
std::string ProblemLine(const Problem& problem);

// How Q, K and V are drawn; problem_distribution.h says what each is. `data=` of the line.
enum class Distribution : uint32_t { kNormal, kKeyBias, kSink, kValueSpread, kAll };

// An op that owns what it points to. tensors[s].data is null until MakeProblemTensors; the caller may set it.
struct Problem {
  sage_op op{};  // slots and attributes point into this
  support::OpView::Attributes attributes{};
  std::vector<sage_tensor> tensors;          // by slot
  std::vector<const sage_tensor*> pointers;  // null where absent
  uint64_t seed = 0;                         // of the data; `seed=` of the line
  int64_t mincut = 0;                        // parts whose mask the mask slots hold; 0 = random; `mincut=` of the line
  Distribution distribution = Distribution::kNormal;

  Problem() = default;
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;
  bool Has(uint32_t slot) const { return slot < pointers.size() && pointers[slot] != nullptr; }
  // Points op at tensors and attributes again; to be called after slots were added or removed by hand.
  void Link();
};

// The op a line names; it passes CheckOp. SAGE_E_INVALID_ARGUMENT names the bad token, or says what CheckOp said.
Result<std::unique_ptr<Problem>> ParseProblem(std::string_view text);

// Memory for a problem's tensors, inputs filled with data that only depends on problem.seed, shapes and dtypes: valid
// index tensors, Q, K and V of the problem's distribution, about N(0,1) elsewhere. Outputs are filled with 0xA5 bytes.
// Sets the data pointers of problem->tensors, which point into *out. SAGE_E_OUT_OF_MEMORY when more than max_bytes
// would be needed. CPU only.
struct ProblemData {
  std::vector<std::vector<unsigned char>> buffers;  // by slot
};
Status MakeProblemTensors(Problem* problem, uint64_t max_bytes, ProblemData* out);

// The first byte and the size of the memory that a tensor's elements span, relative to element [0,..,0]: negative
// strides make *begin negative. Of a tensor that passed CheckOp.
void TensorExtent(const sage_tensor& tensor, int64_t* begin, uint64_t* bytes);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_H_
