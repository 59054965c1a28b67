// plugin.cc: the reference's table. The reference is the oracle: every op of v1 in float64, written to be checked by
// reading, never to be fast. It is linked into the engine but answers through the same table as any plugin.
#include "instance.h"

namespace {

constexpr uint64_t kKinds = ((1ull << (SAGE_OP_POOL + 1)) - 1) & ~1ull;
constexpr uint64_t kFeatures = (SAGE_ATTN_F_SCORES_OUT << 1) - 1;

constexpr sage_plugin MakeTable() {
  sage_plugin table{};
  table.struct_size = static_cast<uint32_t>(sizeof table);
  table.abi_major = SAGE_ABI_MAJOR;
  table.abi_minor = SAGE_ABI_MINOR;
  table.abi_minor_min = 0;
  table.name = "reference";
  table.version = "1.0.0";
  table.build = "float64, " __VERSION__;
  table.kinds = kKinds;
  table.features = kFeatures;
  table.device_type = SAGE_CPU;
  table.probe = sage::reference::Probe;
  table.create = sage::reference::Create;
  table.destroy = sage::reference::Destroy;
  table.ask = sage::reference::Ask;
  table.plan = sage::reference::MakePlan;
  table.plan_destroy = sage::reference::DestroyPlan;
  table.run = sage::reference::Run;
  return table;
}
constexpr sage_plugin kTable = MakeTable();

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(reference) {
  (void)host_minor;  // one table for every minor
  return host_major == SAGE_ABI_MAJOR ? &kTable : nullptr;
}
