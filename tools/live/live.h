// live.h: `run --live`: this machine's own counters as sensors, targets and experts, so that anyone can watch real
// attention move. On a terminal bars, elsewhere JSONL; --record keeps the ticks for a replay.
#ifndef SAGE_TOOLS_LIVE_LIVE_H_
#define SAGE_TOOLS_LIVE_LIVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "report/summary.h"
#include "tick_stream.h"

namespace CLI {
class App;
}

namespace sage::tool {

struct LiveFlags {
  bool on = false;
  double rate = 10;      // ticks a second
  uint64_t count = 0;    // 0 = until Ctrl-C
  std::string record;    // JSONL of the ticks given to the engine
  bool no_view = false;  // JSONL even on a terminal
  void AddTo(CLI::App* verb);
};

// kind: SAGE_MODEL_*; model: its bytes, for the widths the ticks must have.
int RunLive(const LiveFlags& flags, uint32_t kind, const std::vector<uint8_t>& model, TickStream* stream,
            Summary* summary);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_LIVE_LIVE_H_
