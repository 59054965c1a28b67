// sage_arms.h: our side's arms, a backend with options each, planned for one problem through libsage as any program
// does it: one-shot plans over tensors that lie on the device.
#ifndef SAGE_BENCH_GPU_SAGE_ARMS_H_
#define SAGE_BENCH_GPU_SAGE_ARMS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device.h"
#include "problem_sets.h"
#include "sage/sage.h"

namespace sage::bench {

struct Destroy {
  void operator()(sage_options* p) const { sage_options_destroy(p); }
  void operator()(sage_engine* p) const { sage_engine_destroy(p); }
  void operator()(sage_model* p) const { sage_model_destroy(p); }
  void operator()(sage_session* p) const { sage_session_destroy(p); }
  void operator()(sage_attention_plan* p) const { sage_attention_plan_destroy(p); }
  void operator()(sage_attention_context* p) const { sage_attention_context_destroy(p); }
};
using OptionsPtr = std::unique_ptr<sage_options, Destroy>;
using EnginePtr = std::unique_ptr<sage_engine, Destroy>;
using ModelPtr = std::unique_ptr<sage_model, Destroy>;
using SessionPtr = std::unique_ptr<sage_session, Destroy>;
using PlanPtr = std::unique_ptr<sage_attention_plan, Destroy>;
using ContextPtr = std::unique_ptr<sage_attention_context, Destroy>;
using Pairs = std::map<std::string, std::string>;

// An error slot ready for a call, and what it says of a status.
struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
  Status Of(sage_status code) const { return code == SAGE_OK ? Status() : Status(code, message); }
};

Result<OptionsPtr> MakeOptions(const Pairs& pairs);

// Engines by their options, since making one makes a context of the driver's.
class Engines {
 public:
  Result<sage_engine*> Get(const Pairs& options);

 private:
  std::map<std::string, EnginePtr> made_;
};

class Arm {
 public:
  // Plans the problem on that backend or says why not, and runs it once.
  static Result<std::unique_ptr<Arm>> Make(Device& device, Engines& engines, ProblemSets& sets,
                                           const std::string& backend, const Pairs& options);
  const std::string& path() const { return path_; }  // the backend's own sentence
  double price_ns() const { return price_ns_; }      // what it asks for a run; 0 = it did not say

  // One call on the set number n modulo their count, enqueued. lent: on the device's stream; else it returns when O is
  // there.
  Status Run(int64_t n, bool lent = true);
  // Nanoseconds a call, a sample each, of `calls` calls in a row; where the device can, these are recorded and launched
  // as one. how: which of it was done.
  Result<std::vector<double>> Time(int64_t calls, int64_t warmup, int64_t samples, std::string* how);
  // Nanoseconds by the CPU's clock from the call to the answer.
  Result<std::vector<double>> RoundTrips(int64_t warmup, int64_t samples);

 private:
  Arm(Device& device, ProblemSets& sets) : device_(device), sets_(sets) {}

  Device& device_;
  ProblemSets& sets_;
  PlanPtr plan_;
  ContextPtr context_;
  std::string path_, not_recorded_;
  double price_ns_ = 0;
  std::unique_ptr<Recording> recording_;
  int64_t recorded_calls_ = 0;
};

// Nanoseconds of a clock that never jumps.
double SteadyNow();

}  // namespace sage::bench

#endif  // SAGE_BENCH_GPU_SAGE_ARMS_H_
