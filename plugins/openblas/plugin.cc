// plugin.cc: the openblas table: LINEAR and MATMUL in f32 and f64 by the system's OpenBLAS, when its price is lower or
// when it is named, and always there as a yardstick.
#include "instance.h"

namespace {

constexpr sage_plugin MakeTable() {
  sage_plugin table{};
  table.struct_size = static_cast<uint32_t>(sizeof table);
  table.abi_major = SAGE_ABI_MAJOR;
  table.abi_minor = SAGE_ABI_MINOR;
  table.abi_minor_min = 0;
  table.name = "openblas";
  table.version = "1.0.0";
  table.build = "OpenBLAS by dlopen, " __VERSION__;
  table.foreign_threads =
      "OpenBLAS (pthread build): one per core, started by the first plan, as many used as the engine has workers; they "
      "spin for some 20 ms after a product before they sleep";
  table.kinds = SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL);
  table.device_type = SAGE_CPU;
  table.probe = sage::openblas::Probe;
  table.create = sage::openblas::Create;
  table.destroy = sage::openblas::Destroy;
  table.ask = sage::openblas::Ask;
  table.plan = sage::openblas::MakePlan;
  table.plan_destroy = sage::openblas::DestroyPlan;
  table.run = sage::openblas::Run;
  return table;
}
constexpr sage_plugin kTable = MakeTable();

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(openblas) {
  (void)host_minor;  // one table for every minor
  return host_major == SAGE_ABI_MAJOR ? &kTable : nullptr;
}
