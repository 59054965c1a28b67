// bench_report.h: what `bench` measured, in the forms a person or a program reads. It computes percentiles and no
// times.
#ifndef SAGE_TOOLS_REPORT_BENCH_REPORT_H_
#define SAGE_TOOLS_REPORT_BENCH_REPORT_H_

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "report/roofline.h"

namespace sage::tool {

struct BenchRow {
  std::string problem, backend, dtype, note;
  uint64_t threads = 1;
  std::vector<double> samples;  // ns, in the order they were taken
  double flops = 0, bytes = 0, kv_bytes = 0, max_abs_err = NAN, rel_err = NAN;
  double Percentile(double p) const;  // nearest rank; NAN without samples
};

// format: text (md, for a person at a terminal), md, html (one file, nothing loaded from elsewhere), csv, json.
// Figures that there are none of are "-" for people, empty in csv, null in json. raw_samples: json only, as samples_ns.
std::string BenchReport(const std::string& format, const std::vector<BenchRow>& rows, const Roofline& roofline,
                        bool raw_samples = false);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_BENCH_REPORT_H_
