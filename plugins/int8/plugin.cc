// plugin.cc: the int8 table: attention and LINEAR in 8-bit integers, in kernels for this machine's instruction set.
#include "attention.h"
#include "backend.h"

namespace {

constexpr sage_plugin kTable = sage::plugins::CpuTable<sage::int8::Probe, sage::int8::Create>({
    .name = "int8",
    .version = sage::int8::kVersion,
    .build = "compiler " __VERSION__,
    .kinds = sage::int8::kKinds,
    .features = sage::int8::kAttentionFeatures,
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(int8) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
