// functions.cc: ReadRow and the elementwise functions, which several kernels share.
#include "kernel.h"

namespace sage::reference {
namespace {

template <class T>
void ReadPlainRow(const char* at, int64_t step, int64_t count, double* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<double>(ReadRaw<T>(at + i * step));
}

}  // namespace

void ReadRow(const sage_tensor& tensor, int64_t offset, int64_t stride, int64_t count, double* out) {
  const char* at = AddressOf(tensor, offset);
  const int64_t step = stride * static_cast<int64_t>(support::DtypeSize(tensor.dtype));
  if (tensor.dtype == SAGE_F64) return ReadPlainRow<double>(at, step, count, out);
  if (tensor.dtype == SAGE_F32) return ReadPlainRow<float>(at, step, count, out);
  for (int64_t i = 0; i < count; ++i) out[i] = Read(tensor.dtype, at + i * step);
}

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
      return x;  // SAGE_FN_IDENTITY; support refuses what is unknown
  }
}

}  // namespace sage::reference
