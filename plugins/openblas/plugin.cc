// plugin.cc: the openblas table: LINEAR and MATMUL in f32 and f64 by the system's OpenBLAS, when its price is lower or
// when it is named, and always there as a yardstick.
#include "backend.h"

namespace {

constexpr sage_plugin kTable = sage::plugins::CpuTable<sage::openblas::Probe, sage::openblas::Create>({
    .name = "openblas",
    .version = "1.0.0",
    .build = "OpenBLAS by dlopen, " __VERSION__,
    .foreign_threads =
        "OpenBLAS (pthread build): one per core, started by the first plan, as many used as the engine has workers; "
        "they spin for some 20 ms after a product before they sleep",
    .kinds = SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL),
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(openblas) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
