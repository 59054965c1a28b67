// quantize.h: floats as signed integers with scales, and back; what sage/quantize.h promises.
#ifndef SAGE_ENGINE_QUANTIZE_QUANTIZE_H_
#define SAGE_ENGINE_QUANTIZE_QUANTIZE_H_

#include "sage/quantize.h"
#include "status.h"

namespace sage {

// The tensors of a call, taken in; null where absent.
struct QuantizeCall {
  const sage_tensor* x = nullptr;
  const sage_tensor* codes = nullptr;
  const sage_tensor* scale = nullptr;
  const sage_tensor* mean = nullptr;
  const sage_tensor* cu_seqlens = nullptr;
  uint32_t granularity = 0, scale_block = 0, flags = 0;
};

// Nothing is written unless the status is SAGE_OK. May throw std::bad_alloc.
Status Quantize(const QuantizeCall& call, sage_quantize_report* report);
Status Dequantize(const QuantizeCall& call);

}  // namespace sage

#endif  // SAGE_ENGINE_QUANTIZE_QUANTIZE_H_
