// roofline.h: what this machine can do at most, measured here and now, so that a figure has something to stand beside.
#ifndef SAGE_TOOLS_REPORT_ROOFLINE_H_
#define SAGE_TOOLS_REPORT_ROOFLINE_H_

namespace sage::tool {

struct Roofline {
  double fma_gflops = 0;   // fp32 multiply-adds from registers, one thread, two operations each, best of a few tries
  double stream_gbps = 0;  // reading memory far larger than the caches, one thread
};

// About a tenth of a second.
Roofline MeasureRoofline();

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_ROOFLINE_H_
