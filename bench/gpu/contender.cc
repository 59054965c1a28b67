// contender.cc: our side of bench/run --gpu, a process that answers orders: a JSON object a line in, one out, as the
// peers' drivers do. It measures and says what came out; what is ordered, checked and made of it is
// bench/peers/gpu_measure.py.
//
//   gpu_contender --plugin libsage_cuda.so [--device cpu]       cpu: for the bench's own tests
//
//   at its start   {"peer", "versions", "settings", "device": facts} or {"missing": why it cannot run here}
//   prepare        problem_sets.h says the order                  -> {"ok", "sets", "bytes": of a set}
//   arm            {"arm", "backend", "options"}                  -> {"ok", "path", "price_ns", "first_ns"}
//   rows           {"arm", "set", "rows"}                         -> {"ok", "values", "not_finite"}
//   time           {"arm", "calls", "warmup", "samples"}          -> {"ok", "samples_ns", "how"}
//   round_trip     {"arm", "warmup", "samples"}                   -> {"ok", "samples_ns"}
//   roofline       plugin_table.h says the order                  -> {"ok", "copy", "linear"}
//   graph          graph_round_trip.h says the order              -> {"ok", "host_ns", ...}
//   forget         gives the problem's memory back                -> {"ok"}
//
// An order that cannot be carried out is answered {"ok": false, "why"}.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>

#include "graph_round_trip.h"
#include "plugin_table.h"
#include "problem_sets.h"
#include "sage_arms.h"

namespace sage::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

class Contender {
 public:
  Contender(std::unique_ptr<Device> device, const sage_plugin* plugin) : device_(std::move(device)), plugin_(plugin) {}

  Result<ordered_json> Answer(const json& order) {
    const auto what = order.at("do").get<std::string>();
    if (what == "prepare") return Prepare(order);
    if (what == "arm") return MakeArm(order);
    if (what == "rows") return Rows(order);
    if (what == "time") return Time(order);
    if (what == "round_trip") return RoundTrip(order);
    if (what == "roofline") return MeasureRoofline(*device_, *plugin_, order);
    if (what == "graph") return MeasureGraph(*device_, engines_, order);
    if (what == "forget") return Forget();
    return Status(SAGE_E_INVALID_ARGUMENT, "unknown order \"" + what + "\"");
  }

 private:
  ordered_json Forget() {
    arms_.clear();
    sets_.reset();
    return ordered_json::object();
  }
  Result<ordered_json> Prepare(const json& order) {
    Forget();
    SAGE_ASSIGN_OR_RETURN(sets_, ProblemSets::Make(*device_, order));
    return ordered_json{{"sets", sets_->count()}, {"bytes", sets_->bytes()}};
  }
  Result<ordered_json> MakeArm(const json& order) {
    if (sets_ == nullptr) return Status(SAGE_E_INVALID_ARGUMENT, "no problem was prepared");
    SAGE_ASSIGN_OR_RETURN(auto arm, Arm::Make(*device_, engines_, *sets_, order.at("backend").get<std::string>(),
                                              order.at("options").get<Pairs>()));
    std::string how;
    SAGE_ASSIGN_OR_RETURN(std::vector<double> times, arm->Time(1, 1, 3, &how));
    std::sort(times.begin(), times.end());
    const ordered_json out{{"path", arm->path()}, {"price_ns", arm->price_ns()}, {"first_ns", times[1]}};
    arms_[order.at("arm").get<std::string>()] = std::move(arm);
    return out;
  }
  Result<Arm*> Find(const json& order) {
    const auto name = order.at("arm").get<std::string>();
    const auto found = arms_.find(name);
    if (found == arms_.end()) return Status(SAGE_E_INVALID_ARGUMENT, "there is no arm \"" + name + "\"");
    return found->second.get();
  }
  Result<ordered_json> Rows(const json& order) {
    SAGE_ASSIGN_OR_RETURN(Arm* const arm, Find(order));
    const auto set = order.at("set").get<size_t>();
    if (set >= sets_->count()) return Status(SAGE_E_INVALID_ARGUMENT, "there is no such set of tensors");
    SAGE_RETURN_IF_ERROR(sets_->Poison(set));
    SAGE_RETURN_IF_ERROR(arm->Run(static_cast<int64_t>(set)));
    SAGE_RETURN_IF_ERROR(device_->Wait());
    return sets_->ReadRows(set, order.at("rows").get<std::vector<int64_t>>());
  }
  Result<ordered_json> Time(const json& order) {
    SAGE_ASSIGN_OR_RETURN(Arm* const arm, Find(order));
    std::string how;
    SAGE_ASSIGN_OR_RETURN(const std::vector<double> times,
                          arm->Time(std::max<int64_t>(1, order.at("calls").get<int64_t>()),
                                    order.at("warmup").get<int64_t>(), order.at("samples").get<int64_t>(), &how));
    return ordered_json{{"samples_ns", times}, {"how", how}};
  }
  Result<ordered_json> RoundTrip(const json& order) {
    SAGE_ASSIGN_OR_RETURN(Arm* const arm, Find(order));
    SAGE_ASSIGN_OR_RETURN(const std::vector<double> times,
                          arm->RoundTrips(order.at("warmup").get<int64_t>(), order.at("samples").get<int64_t>()));
    return ordered_json{{"samples_ns", times}};
  }

  std::unique_ptr<Device> device_;
  const sage_plugin* plugin_;
  Engines engines_;
  std::unique_ptr<ProblemSets> sets_;
  std::map<std::string, std::unique_ptr<Arm>> arms_;  // after sets_: they point into it
};

void Say(const ordered_json& message) {
  fmt::print("{}\n", message.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
  std::fflush(stdout);
}

Result<std::unique_ptr<Device>> Open([[maybe_unused]] const sage_plugin& plugin, bool on_cpu, std::string* said) {
  SAGE_ASSIGN_OR_RETURN(*said, Probe(plugin));
  if (on_cpu) return MakeCpuDevice();
#ifdef SAGE_BENCH_CUDA
  return MakeCudaDevice();
#else
  return Status(SAGE_E_UNSUPPORTED, "this program was built without the CUDA toolkit");
#endif
}

int Serve(const std::string& plugin_path, bool on_cpu) {
  const auto missing = [](const Status& status) {
    Say({{"missing", status.message()}});
    return 0;
  };
  auto plugin = LoadPlugin(plugin_path);
  if (!plugin.ok()) return missing(plugin.status());
  std::string said;
  auto device = Open(**plugin, on_cpu, &said);
  if (!device.ok()) return missing(device.status());
  auto facts = (*device)->Facts();
  if (!facts.ok()) return missing(facts.status());
  Say({{"peer", "sage-engine"},
       {"versions", {{"sage-engine", sage_version()}}},
       {"settings", {{"build", sage_build_info()}, {"plugin", said}}},
       {"device", *facts}});
  Contender contender(std::move(*device), *plugin);
  for (std::string line; std::getline(std::cin, line);) {
    const json order = json::parse(line, nullptr, false);
    ordered_json answer{{"ok", false}, {"why", "the order is no JSON object"}};
    if (order.is_object()) try {
        auto got = contender.Answer(order);
        answer = got.ok() ? ordered_json{{"ok", true}} : ordered_json{{"ok", false}, {"why", got.status().message()}};
        if (got.ok()) answer.update(*got);
      } catch (const json::exception& error) {  // a key is missing or of another type
        answer["why"] = error.what();
      } catch (const std::bad_alloc&) {
        answer["why"] = "the CPU's memory is used up";
      }
    Say(answer);
  }
  return 0;
}

}  // namespace
}  // namespace sage::bench

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool on_cpu = arguments.size() == 4 && arguments[2] == "--device" && arguments[3] == "cpu";
  if (!(arguments.size() == 2 || on_cpu) || arguments[0] != "--plugin") {
    fmt::print(stderr, "usage: gpu_contender --plugin libsage_cuda.so [--device cpu]\n");
    return 2;
  }
  return sage::bench::Serve(arguments[1], on_cpu);
}
