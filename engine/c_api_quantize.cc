// c_api_quantize.cc: quantize.h's functions: arguments are taken in, then quantize/quantize.h.
#include "handles.h"
#include "quantize/quantize.h"
#include "sage/support/take_in.h"

using sage::Border;
using sage::NullArgument;
using sage::QuantizeCall;
using sage::Status;

namespace {

// Copies of the caller's tensors, which a call points to.
struct Tensors {
  sage_tensor x{}, codes{}, scale{}, mean{}, cu_seqlens{};
};

Status TakeIn(const char* function, const char* name, const sage_tensor* given, bool required, sage_tensor* mine,
              const sage_tensor** out) {
  *out = nullptr;
  if (given == nullptr) return required ? NullArgument(function, name) : Status();
  if (const sage_status status = sage_take_in(mine, static_cast<uint32_t>(sizeof *mine), given); status != SAGE_OK)
    return Status(status, fmt::format("{}: {}'s struct_size is not set, or it has fields newer than this library",
                                      function, name));
  if (mine->device_type == 0) mine->device_type = SAGE_CPU;
  *out = mine;
  return {};
}

Status TakeInAll(const char* function, const sage_tensor* x, const sage_tensor* codes, const sage_tensor* scale,
                 const sage_tensor* mean, const sage_tensor* cu_seqlens, Tensors* mine, QuantizeCall* call) {
  SAGE_RETURN_IF_ERROR(TakeIn(function, "x", x, true, &mine->x, &call->x));
  SAGE_RETURN_IF_ERROR(TakeIn(function, "codes", codes, true, &mine->codes, &call->codes));
  SAGE_RETURN_IF_ERROR(TakeIn(function, "scale", scale, true, &mine->scale, &call->scale));
  SAGE_RETURN_IF_ERROR(TakeIn(function, "mean", mean, false, &mine->mean, &call->mean));
  return TakeIn(function, "cu_seqlens", cu_seqlens, false, &mine->cu_seqlens, &call->cu_seqlens);
}

}  // namespace

extern "C" {

sage_status sage_quantize(const sage_tensor* x, uint32_t granularity, uint32_t scale_block, uint32_t flags,
                          const sage_tensor* cu_seqlens, const sage_tensor* codes, const sage_tensor* scale,
                          const sage_tensor* mean, sage_quantize_report* report, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    Tensors mine;
    QuantizeCall call;
    call.granularity = granularity, call.scale_block = scale_block, call.flags = flags;
    SAGE_RETURN_IF_ERROR(TakeInAll("sage_quantize", x, codes, scale, mean, cu_seqlens, &mine, &call));
    if (report != nullptr && (report->struct_size < SAGE_STRUCT_MIN || report->struct_size > SAGE_STRUCT_MAX))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("sage_quantize: report->struct_size is {}, sizeof the struct is "
                                "expected",
                                report->struct_size));
    sage_quantize_report told{};
    SAGE_RETURN_IF_ERROR(sage::Quantize(call, &told));
    return report == nullptr ? Status() : sage::GiveOut("sage_quantize", report, told);
  });
}

sage_status sage_dequantize(const sage_tensor* codes, uint32_t granularity, uint32_t scale_block,
                            const sage_tensor* cu_seqlens, const sage_tensor* scale, const sage_tensor* mean,
                            const sage_tensor* x, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    Tensors mine;
    QuantizeCall call;
    call.granularity = granularity, call.scale_block = scale_block;
    SAGE_RETURN_IF_ERROR(TakeInAll("sage_dequantize", x, codes, scale, mean, cu_seqlens, &mine, &call));
    return sage::Dequantize(call);
  });
}

}  // extern "C"
