// plugin.cc: the reference's table. The reference is the oracle: every op of v1 in float64, written to be checked by
// reading, never to be fast. It is linked into the engine but answers through the same table as any plugin.
#include "backend.h"

namespace {

constexpr sage_plugin kTable = sage::plugins::CpuTable<sage::reference::Probe, sage::reference::Create>({
    .name = "reference",
    .version = "1.0.0",
    .build = "float64, " __VERSION__,
    .kinds = ((1ull << (SAGE_OP_POOL + 1)) - 1) & ~1ull,
    .features = (SAGE_ATTN_F_SCORES_OUT << 1) - 1,
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(reference) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
