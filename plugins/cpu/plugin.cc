// plugin.cc: the cpu table: every kind in C++ kernels for scalar, AVX2 and AVX-512 machines, chosen when it is created.
#include "attention.h"
#include "backend.h"

namespace {

constexpr sage_plugin kTable = sage::plugins::CpuTable<sage::cpu::Probe, sage::cpu::Create>({
    .name = "cpu",
    .version = sage::cpu::kVersion,
    .build = "compiler " __VERSION__,
    .kinds = sage::cpu::kKinds,
    .features = sage::cpu::kAttentionFeatures,
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(cpu) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
