// constant_data.cc: see constant_data.h.
#include "model/constant_data.h"

#include <cmath>

#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

bool IsWhole(double value, double least, double most_exclusive) {
  return value >= least && value < most_exclusive && value == std::trunc(value);
}

}  // namespace

const char* AppendValue(sage_dtype dtype, double value, std::vector<uint8_t>* out) {
  unsigned char bytes[8] = {};
  StoreElement(bytes, dtype, value);
  const uint32_t size = support::DtypeSize(dtype);
  switch (dtype) {
    case SAGE_F64:
    case SAGE_F32:
    case SAGE_F16:
    case SAGE_BF16:
    case SAGE_F8_E5M2:
    case SAGE_F8_E4M3FN:
      // What was finite must stay so, and an infinity one: E4M3 has none, and stores a NaN.
      if (const double stored = LoadElement(bytes, dtype);
          !std::isnan(value) && (std::isnan(stored) || std::isinf(stored) != std::isinf(value)))
        return "is outside the range";
      break;
    case SAGE_BOOL:
      if (value != 0 && value != 1) return "is neither the 0 nor the 1";
      break;
    case SAGE_U8:
    case SAGE_U64:
      if (!IsWhole(value, 0, std::ldexp(1.0, static_cast<int>(8 * size)))) return "is no whole number in the range";
      break;
    case SAGE_I8:
    case SAGE_I16:
    case SAGE_I32:
    case SAGE_I64: {
      const double limit = std::ldexp(1.0, static_cast<int>(8 * size) - 1);
      if (!IsWhole(value, -limit, limit)) return "is no whole number in the range";
      break;
    }
    default:
      return "is written in a type unknown to this build, instead";
  }
  out->insert(out->end(), bytes, bytes + size);
  return nullptr;
}

}  // namespace sage
