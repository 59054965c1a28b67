// session_options.cc: the options of scope "session" become a SessionOptions.
#include <array>
#include <string_view>

#include "plan/policy_options.h"
#include "run/session.h"

namespace sage {

Result<SessionOptions> SessionOptions::From(const Options& options, const Engine& engine) {
  SAGE_RETURN_IF_ERROR(engine.CheckOptions(options, "session"));
  constexpr std::array<std::string_view, 3> kVerify = {"off", "first", "always"};
  constexpr std::array<std::string_view, 2> kWarmup = {"lazy", "all"};
  SessionOptions out;
  SAGE_ASSIGN_OR_RETURN(out.policy, PolicyFromOptions(options));
  SAGE_ASSIGN_OR_RETURN(const uint32_t verify, ChoiceOption(options, "verify", kVerify, 0));
  out.verify = static_cast<Verify>(verify);
  SAGE_ASSIGN_OR_RETURN(const uint32_t warmup, ChoiceOption(options, "warmup", kWarmup, 0));
  out.warmup_all = warmup == 1;
  SAGE_ASSIGN_OR_RETURN(out.trace, BoolOption(options, "trace", false));
  SAGE_ASSIGN_OR_RETURN(out.accuracy_report, BoolOption(options, "accuracy_report", false));
  SAGE_ASSIGN_OR_RETURN(out.graph_capture, BoolOption(options, "graph_capture", false));
  SAGE_ASSIGN_OR_RETURN(out.guard, BoolOption(options, "guard", true));
  if (options.values.contains("max_memory")) {
    SAGE_ASSIGN_OR_RETURN(const int64_t bytes, IntegerOption(options, "max_memory", 1, INT64_MAX, INT64_MAX));
    out.max_memory = static_cast<uint64_t>(bytes);
  }
  out.max_memory = std::min(out.max_memory, engine.host()->max_memory());
  out.cancel = options.cancel != nullptr ? options.cancel : engine.options().cancel;
  out.cancel_user = options.cancel != nullptr ? options.cancel_user : engine.options().cancel_user;
  return out;
}

}  // namespace sage
