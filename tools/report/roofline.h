// roofline.h: what this machine can do at most, measured here and now, so that a figure has something to stand beside.
// It says what loops of the simplest kind reach, not what a data sheet promises.
#ifndef SAGE_TOOLS_REPORT_ROOFLINE_H_
#define SAGE_TOOLS_REPORT_ROOFLINE_H_

#include <cstdint>

namespace sage::tool {

struct Roofline {
  double fma_gflops = 0;   // fp32 multiply-adds from registers, one thread, two operations each, best of a few tries
  double bf16_gflops = 0;  // the same by AVX512-BF16's dot products; 0 where there are none
  double stream_gbps = 0;  // reading memory far larger than the caches, one thread

  uint64_t threads = 1;  // of the following
  double threads_fma_gflops = 0, threads_bf16_gflops = 0;
  // Reading `footprint_bytes` again and again, each thread its share: of a footprint that fits a cache, that cache's.
  double footprint_bytes = 0, footprint_gbps = 0, footprint_gbps_best = 0;  // median and best of the passes
};

// About a tenth of a second, and as much again for a footprint; footprint_bytes 0 = none. Starts threads - 1 threads.
Roofline MeasureRoofline(uint64_t threads = 1, double footprint_bytes = 0);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_ROOFLINE_H_
