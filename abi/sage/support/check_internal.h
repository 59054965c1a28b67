// check_internal.h: what the files behind check_op.h share: an op as the rules see it, and how a rule complains.
//
// The same rules run twice: on a description, where the first violation becomes a sentence, and at run on shapes that
// became smaller, where nothing may be allocated and the sentence is left out. Not for users of the library.
#ifndef SAGE_SUPPORT_CHECK_INTERNAL_H_
#define SAGE_SUPPORT_CHECK_INTERNAL_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "sage/support/attention_dims.h"
#include "sage/support/check_op.h"

namespace sage::support {

// No tensor reaches further than this many bytes from its first element, and no op has more products than 2^62. Both
// are far beyond any machine; below them sizes, offsets and counts of work fit into int64 with room for a factor 64.
inline constexpr uint64_t kMaxReachBytes = 1ull << 56;
inline constexpr uint64_t kMaxWork = 1ull << 62;

// Collects the first violation. why == null: only the status, nothing is formatted or allocated.
class Complaint {
 public:
  explicit Complaint(std::string* why) : why_(why) {}
  bool wants_text() const { return why_ != nullptr; }
  __attribute__((format(printf, 2, 3))) sage_status Invalid(const char* format, ...) const;
  __attribute__((format(printf, 2, 3))) sage_status Unsupported(const char* format, ...) const;
  __attribute__((format(printf, 2, 3))) sage_status Unknown(const char* format, ...) const;

 private:
  std::string* why_;
};

// An op's kind, attributes and slots, wherever the slots lie.
struct OpRef {
  uint32_t kind = 0;
  uint64_t aliases = 0;
  const OpView::Attributes* attributes = nullptr;
  const sage_tensor* const* slots = nullptr;
  uint32_t num_slots = 0;

  bool Has(uint32_t slot) const { return slot < num_slots && slots[slot] != nullptr; }
  const sage_tensor& operator[](uint32_t slot) const { return *slots[slot]; }
};

// "[2,12,1,64]", for messages; cut to fit.
struct ShapeText {
  explicit ShapeText(const sage_tensor& tensor) : ShapeText(tensor.rank, tensor.shape) {}
  ShapeText(uint32_t rank, const int64_t* shape);
  const char* c_str() const { return text; }
  char text[192];
};

// Offset of the field that is called `reserved`, in the kind's attributes; 0 where there is none.
uint32_t ReservedOffset(uint32_t kind);

// The tensor's shape is exactly shape[0..rank).
sage_status ExpectShape(const OpRef& op, uint32_t slot, uint32_t rank, const int64_t* shape, const Complaint& complain);
sage_status ExpectDtype(const OpRef& op, uint32_t slot, sage_dtype dtype, const Complaint& complain);
sage_status ExpectFloat(const OpRef& op, uint32_t slot, const Complaint& complain);
sage_status ExpectSlot(const OpRef& op, uint32_t slot, const Complaint& complain);
bool SameShape(const sage_tensor& a, const sage_tensor& b);
// Product of non-negative factors against a limit; zeros count as one, so that partial products are covered too.
bool ProductFits(std::initializer_list<int64_t> factors, uint64_t limit);
inline int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// The rules of one kind; tensors have passed the common checks.
sage_status CheckAttention(const OpRef& op, const Complaint& complain);
sage_status CheckPlainKind(const OpRef& op, const Complaint& complain);

// Only of an op whose Q, K, V, O ranks have been checked.
inline AttentionDims ReadAttentionDims(const OpRef& op) { return ReadAttentionDims(op.slots, op.num_slots); }

#define SAGE_SUPPORT_TRY(expression)                                                        \
  do {                                                                                      \
    if (const sage_status sage_try_ = (expression); sage_try_ != SAGE_OK) return sage_try_; \
  } while (false)

}  // namespace sage::support

#endif  // SAGE_SUPPORT_CHECK_INTERNAL_H_
