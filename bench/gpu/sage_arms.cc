// sage_arms.cc: planning and timing of our arms.
#include "sage_arms.h"

#include <fmt/format.h>
#include <time.h>

namespace sage::bench {

double SteadyNow() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

Result<OptionsPtr> MakeOptions(const Pairs& pairs) {
  Error error;
  sage_options* raw = nullptr;
  SAGE_RETURN_IF_ERROR(error.Of(sage_options_create(&raw, &error)));
  OptionsPtr options(raw);
  for (const auto& [key, value] : pairs)
    SAGE_RETURN_IF_ERROR(error.Of(sage_options_set(raw, key.c_str(), value.c_str(), &error)));
  return options;
}

Result<sage_engine*> Engines::Get(const Pairs& options) {
  std::string name;
  for (const auto& [key, value] : options) name += key + "=" + value + "\n";
  EnginePtr& engine = made_[name];
  if (engine == nullptr) {
    SAGE_ASSIGN_OR_RETURN(const OptionsPtr given, MakeOptions(options));
    Error error;
    sage_engine* raw = nullptr;
    SAGE_RETURN_IF_ERROR(error.Of(sage_engine_create(given.get(), &raw, &error)));
    engine.reset(raw);
  }
  return engine.get();
}

Result<std::unique_ptr<Arm>> Arm::Make(Device& device, Engines& engines, ProblemSets& sets, const std::string& backend,
                                       const Pairs& options) {
  std::unique_ptr<Arm> arm(new Arm(device, sets));
  SAGE_ASSIGN_OR_RETURN(sage_engine* const engine, engines.Get(options));
  SAGE_ASSIGN_OR_RETURN(const OptionsPtr insist, MakeOptions({{"backend", backend}}));
  Error error;
  sage_attention_plan* plan = nullptr;
  SAGE_RETURN_IF_ERROR(error.Of(sage_attention_plan_create(engine, &sets.op(), insist.get(), &plan, &error)));
  arm->plan_.reset(plan);
  sage_attention_context* context = nullptr;
  SAGE_RETURN_IF_ERROR(error.Of(sage_attention_context_create(plan, &context, &error)));
  arm->context_.reset(context);
  uint64_t needed = 0;
  SAGE_RETURN_IF_ERROR(error.Of(sage_attention_plan_explain(plan, nullptr, 0, &needed, &error)));
  std::string text(needed, '\0');
  SAGE_RETURN_IF_ERROR(error.Of(sage_attention_plan_explain(plan, text.data(), text.size(), &needed, &error)));
  arm->path_ = backend;
  const auto explained = nlohmann::json::parse(text.c_str(), nullptr, false);
  if (explained.is_object())
    for (const auto& verdict : explained.value("verdicts", nlohmann::json::array()))
      if (verdict.value("backend", "") == backend)
        arm->path_ = verdict.value("reason", backend), arm->price_ns_ = verdict.value("cost_ns", 0.0);
  SAGE_RETURN_IF_ERROR(arm->Run(0));
  SAGE_RETURN_IF_ERROR(device.Wait());
  return arm;
}

Status Arm::Run(int64_t n, bool lent) {
  const auto& slots = sets_.slots(static_cast<size_t>(n) % sets_.count());
  Error error;
  return error.Of(sage_attention_run(context_.get(), slots.data(), static_cast<uint32_t>(slots.size()),
                                     lent ? device_.stream() : nullptr, &error));
}

Result<std::vector<double>> Arm::Time(int64_t calls, int64_t warmup, int64_t samples, std::string* how) {
  Work work = [this](int64_t n) { return Run(n); };
  *how = "one call";
  if (calls > 1) {
    if (recorded_calls_ != calls) {
      recorded_calls_ = calls;
      auto recorded = device_.Record(work, calls);
      recording_ = recorded.ok() ? std::move(*recorded) : nullptr;
      not_recorded_ = recorded.status().message();
    }
    if (recording_ != nullptr) {
      *how = fmt::format("{} calls, recorded and launched as one", calls);
      work = [this](int64_t) { return recording_->Launch(); };
    } else {
      *how = fmt::format("{} calls in a row, since they were not recorded: {}", calls, not_recorded_);
      work = [this, calls](int64_t n) {
        for (int64_t i = 0; i < calls; ++i) SAGE_RETURN_IF_ERROR(Run(n * calls + i));
        return Status();
      };
    }
  }
  SAGE_ASSIGN_OR_RETURN(std::vector<double> times, device_.Time(work, warmup, samples));
  for (double& time : times) time /= static_cast<double>(calls);
  return times;
}

Result<std::vector<double>> Arm::RoundTrips(int64_t warmup, int64_t samples) {
  std::vector<double> times;
  for (int64_t n = 0; n < warmup + samples; ++n) {
    const double begin = SteadyNow();
    SAGE_RETURN_IF_ERROR(Run(n, false));
    if (n >= warmup) times.push_back(SteadyNow() - begin);
  }
  return times;
}

}  // namespace sage::bench
