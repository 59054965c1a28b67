// parallel.h: the host's parallel_for for a C++ callable, and the rule when a job is too small for it.
#ifndef SAGE_PLUGINS_CPU_PARALLEL_H_
#define SAGE_PLUGINS_CPU_PARALLEL_H_

#include <cstdint>

#include "family.h"

namespace sage::cpu {

// A worker that sleeps costs its waker some microseconds and comes late. Measured on a virtual machine with two
// processors: it makes a tick with a job of 26 us slower by 5, and saves a tenth of one of 88.
constexpr double kInlineNs = 50e3;

// body(begin, end, worker) over [0,n) in pieces of about grain; must not throw. ns: what one worker alone would need.
// How the range is cut and who runs a piece must not change what is computed.
template <class Body>
void ParallelFor(const sage_host* host, double ns, int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  if (ns < kInlineNs || host->num_workers <= 1) {
    body(int64_t{0}, n, uint32_t{0});
    return;
  }
  host->parallel_for(
      host->self, static_cast<uint64_t>(n), static_cast<uint64_t>(grain < 1 ? 1 : grain),
      [](void* ctx, uint64_t begin, uint64_t end, uint32_t worker) {
        (*static_cast<const Body*>(ctx))(static_cast<int64_t>(begin), static_cast<int64_t>(end), worker);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// What a job of `ns` on one worker is said to cost with all of them.
inline double ParallelNs(const Context& context, double ns) {
  if (ns < kInlineNs || context.num_workers <= 1) return ns;
  return 5e3 + ns / static_cast<double>(context.num_workers);
}

inline bool Cancelled(const sage_host* host, const sage_run_args& args) {
  return host->cancelled(host->self, args.run) != 0;
}

// A cancelled job skips the rest of its pieces; its end asks once more and says so.
inline sage_status Finish(const sage_host* host, const sage_run_args& args, sage_error* err) {
  if (Cancelled(host, args)) return sage_fail(err, SAGE_E_CANCELLED, "the run was cancelled");
  return sage_succeed(err);
}

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_PARALLEL_H_
