// problem_grammar.h: the words of the problem string, shared by the code that prints and the code that parses it.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_GRAMMAR_H_
#define SAGE_ENGINE_PLAN_PROBLEM_GRAMMAR_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sage/support/op_view.h"
#include "status.h"

namespace sage {

inline constexpr const char* kAccuracyNames[] = {"auto", "exact", "native", "lossy"};
inline constexpr const char* kAlgorithmNames[] = {"auto", "materialised", "flash"};
inline constexpr const char* kGranularityNames[] = {"", "tensor", "head", "token", "channel", "block"};
inline constexpr const char* kDistributionNames[] = {"normal", "kbias", "sink", "vspread", "all"};
inline constexpr const char* kScaleKeys[] = {"scale_q", "scale_k", "scale_v", "scale_p", "scale_o"};

struct AxisName {
  uint32_t bit;
  const char* name;
};
inline constexpr AxisName kAxisNames[] = {
    {SAGE_AXIS_B, "b"}, {SAGE_AXIS_SQ, "sq"}, {SAGE_AXIS_SKV, "skv"}, {SAGE_AXIS_M, "m"}};

// The slots whose memory order `layout=` speaks about.
inline constexpr uint32_t kLayoutSlots[] = {SAGE_ATTN_Q, SAGE_ATTN_K,     SAGE_ATTN_V,
                                            SAGE_ATTN_O, SAGE_ATTN_K_NEW, SAGE_ATTN_V_NEW};

// Row-major in the axes' order; swapped: axes 1 and 2 of a rank-4 tensor change places. Axes of length 1 fit anything.
bool HasLayout(const sage_tensor& tensor, bool swapped);
void SetLayout(sage_tensor* tensor, bool swapped);
bool IsRowMajor(const sage_tensor& tensor);

// An attribute of a plain kind: its key in the line and where it lies in the kind's struct.
struct PlainField {
  enum Type : uint8_t { kU32, kI32, kF64, kI64List, kI32List };
  const char* key;
  Type type;
  uint32_t offset;
  std::span<const char* const> names;  // of values, by number; empty = the number itself
};
std::span<const PlainField> FieldsOf(uint32_t kind);

// The field as text, empty when it has its zero value. rank: entries of a list.
std::string ReadField(const support::OpView::Attributes& attributes, const PlainField& field, uint32_t rank);
Status WriteField(std::string_view value, const PlainField& field, support::OpView::Attributes* attributes);
uint32_t RankOfFirstInput(const support::OpView& view);

// Whole-token numbers.
bool ParseNumber(std::string_view text, int64_t* out);
bool ParseNumber(std::string_view text, double* out);
sage_dtype ParseDtype(std::string_view name);  // 0 = unknown

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_GRAMMAR_H_
