// attention_rates_shipped.cc: the table of rates that is taken without a file, in the format of one.
//
// Peaks that the shares are of (RooflineOf; 132 multiprocessors, 4096 operations a clock, 1.98 GHz): H100 SXM and H200
// 1070 TFLOP/s. Of GB200, whose clock its data sheet does not give, that sheet's 2500.
//
// What is published:
// - cuDNN 9.19.1 on an H200 and 9.22 on a GB200: NVIDIA's cudnn-frontend, benchmark/, results as CSV; forward, bf16;
//   64 heads over 8 of 128 dimensions; 128 heads of 192/128; 64 over 8 of 64 with a window of 1024.
// - cuDNN of 2024 on an H100 at 16k, 64 and 256 dimensions: the plot in FlashAttention-3's repository
//   (assets/flash3_fp16_fwd.png). Newer versions are faster at 128; until somebody shows these, they are the figures.
// FlashAttention-3's own rates are nobody's here: they are of another program. What it loses on short sequences is
// taken for cuDNN's where that has no figure: the rows of 512 and 1024, estimates.
//
// What is estimated, kernels of our own on Hopper: no device has measured them yet. At 32k `hopper` has what a kernel
// of its kind reaches at least without all of its refinements, 480 TFLOP/s at 128 dimensions, 420 under causal, and
// `portable` 321 and 290; other dimensions and lengths have these in the proportions that FlashAttention-3 and -2 show
// on an H100. `int8` is 4/3 of portable, half of its products at twice the rate, and 1.15 at 64 dimensions, where the
// softmax has its own share of the time. The low end on purpose: what somebody has measured is not to lose against a
// hope. Everything else has its family's own share (plugins/cuda/family_descriptions.h).
//
// No figure of decode is known for any of these engines on a board that is named.
#include "common/cuda/attention_rates.h"

namespace sage::cuda {
namespace {

constexpr char kTable[] = R"(# engine arch d class mask length share source   TFLOP/s
cudnn 90 64 prefill none 1024 0.336 estimate
cudnn 90 64 prefill none 16384 0.386 published      # 413
cudnn 90 64 prefill causal 1024 0.221 estimate
cudnn 90 64 prefill causal 16384 0.363 published    # 388
cudnn 90 64 prefill window 2048 0.290 published     # 310
cudnn 90 64 prefill window 4096 0.314 published     # 336
cudnn 90 64 prefill window 8192 0.326 published     # 349
cudnn 90 64 prefill window 16384 0.332 published    # 355
cudnn 90 64 prefill window 32768 0.334 published    # 358
cudnn 90 128 prefill none 512 0.473 estimate
cudnn 90 128 prefill none 2048 0.591 published      # 633
cudnn 90 128 prefill none 4096 0.627 published      # 671
cudnn 90 128 prefill none 8192 0.646 published      # 691
cudnn 90 128 prefill none 16384 0.656 published     # 702
cudnn 90 128 prefill none 32768 0.647 published     # 693
cudnn 90 128 prefill causal 512 0.298 estimate
cudnn 90 128 prefill causal 2048 0.452 published    # 484
cudnn 90 128 prefill causal 4096 0.552 published    # 591
cudnn 90 128 prefill causal 8192 0.602 published    # 644
cudnn 90 128 prefill causal 16384 0.629 published   # 673
cudnn 90 128 prefill causal 32768 0.643 published   # 688
cudnn 90 192 prefill causal 2048 0.488 published    # 522
cudnn 90 192 prefill causal 4096 0.560 published    # 599
cudnn 90 192 prefill causal 8192 0.601 published    # 643
cudnn 90 256 prefill none 1024 0.472 estimate
cudnn 90 256 prefill none 16384 0.543 published     # 581
cudnn 90 256 prefill causal 1024 0.290 estimate
cudnn 90 256 prefill causal 16384 0.476 published   # 509
cudnn 100 128 prefill none 2048 0.573 published     # 1433
cudnn 100 128 prefill none 4096 0.640 published     # 1599
cudnn 100 128 prefill none 8192 0.708 published     # 1771
cudnn 100 128 prefill none 16384 0.679 published    # 1697
cudnn 100 128 prefill none 32768 0.654 published    # 1634
cudnn 100 128 prefill causal 2048 0.439 published   # 1097
cudnn 100 128 prefill causal 4096 0.563 published   # 1408
cudnn 100 128 prefill causal 8192 0.630 published   # 1574
cudnn 100 128 prefill causal 16384 0.683 published  # 1708
cudnn 100 128 prefill causal 32768 0.649 published  # 1622

cuda.hopper 90 64 prefill none 1024 0.30 estimate
cuda.hopper 90 64 prefill none 8192 0.336 estimate
cuda.hopper 90 64 prefill none 32768 0.344 estimate
cuda.hopper 90 64 prefill causal 1024 0.184 estimate
cuda.hopper 90 64 prefill causal 8192 0.279 estimate
cuda.hopper 90 64 prefill causal 32768 0.302 estimate
cuda.hopper 90 128 prefill none 1024 0.39 estimate
cuda.hopper 90 128 prefill none 8192 0.44 estimate
cuda.hopper 90 128 prefill none 32768 0.449 estimate
cuda.hopper 90 128 prefill causal 1024 0.24 estimate
cuda.hopper 90 128 prefill causal 8192 0.363 estimate
cuda.hopper 90 128 prefill causal 32768 0.393 estimate
cuda.hopper 90 256 prefill none 1024 0.456 estimate
cuda.hopper 90 256 prefill none 8192 0.512 estimate
cuda.hopper 90 256 prefill none 32768 0.524 estimate
cuda.hopper 90 256 prefill causal 1024 0.25 estimate
cuda.hopper 90 256 prefill causal 8192 0.379 estimate
cuda.hopper 90 256 prefill causal 32768 0.41 estimate

cuda.portable 90 64 prefill none 1024 0.246 estimate
cuda.portable 90 64 prefill none 8192 0.263 estimate
cuda.portable 90 64 prefill causal 1024 0.158 estimate
cuda.portable 90 64 prefill causal 8192 0.24 estimate
cuda.portable 90 128 prefill none 1024 0.28 estimate
cuda.portable 90 128 prefill none 8192 0.30 estimate
cuda.portable 90 128 prefill causal 1024 0.178 estimate
cuda.portable 90 128 prefill causal 8192 0.27 estimate
cuda.portable 90 256 prefill none 1024 0.246 estimate
cuda.portable 90 256 prefill none 8192 0.263 estimate
cuda.portable 90 256 prefill causal 1024 0.158 estimate
cuda.portable 90 256 prefill causal 8192 0.24 estimate

cuda.int8 90 64 prefill none 1024 0.283 estimate
cuda.int8 90 64 prefill none 8192 0.302 estimate
cuda.int8 90 64 prefill causal 1024 0.182 estimate
cuda.int8 90 64 prefill causal 8192 0.276 estimate
cuda.int8 90 128 prefill none 1024 0.373 estimate
cuda.int8 90 128 prefill none 8192 0.40 estimate
cuda.int8 90 128 prefill causal 1024 0.237 estimate
cuda.int8 90 128 prefill causal 8192 0.36 estimate
cuda.int8 90 256 prefill none 1024 0.328 estimate
cuda.int8 90 256 prefill none 8192 0.351 estimate
cuda.int8 90 256 prefill causal 1024 0.211 estimate
cuda.int8 90 256 prefill causal 8192 0.32 estimate
)";

}  // namespace

std::string_view ShippedRates() { return {kTable, sizeof kTable - 1}; }

}  // namespace sage::cuda
