// functions.cc: see functions.h.
#include "common/functions.h"

#include <cmath>

#include "sage/ops.h"

namespace sage::plugins {

double ApplyFunction(uint32_t function, double x, double alpha) {
  switch (function) {
    case SAGE_FN_RELU:
      return x > 0 || std::isnan(x) ? x : 0.0;
    case SAGE_FN_GELU:
      return 0.5 * x * std::erfc(-x * M_SQRT1_2);  // erfc: 1 + erf cancels for negative x
    case SAGE_FN_GELU_TANH:
      return 0.5 * x * (1.0 + std::tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
    case SAGE_FN_SILU:
      return x / (1.0 + std::exp(-x));
    case SAGE_FN_SIGMOID:
      return 1.0 / (1.0 + std::exp(-x));
    case SAGE_FN_TANH:
      return std::tanh(x);
    case SAGE_FN_ELU:
      return x > 0 ? x : alpha * std::expm1(x);
    case SAGE_FN_EXP:
      return std::exp(x);
    case SAGE_FN_LOG:
      return std::log(x);
    case SAGE_FN_SQRT:
      return std::sqrt(x);
    case SAGE_FN_ABS:
      return std::fabs(x);
    case SAGE_FN_NEG:
      return -x;
    default:
      return x;  // SAGE_FN_IDENTITY; CheckOp refuses what is unknown
  }
}

}  // namespace sage::plugins
