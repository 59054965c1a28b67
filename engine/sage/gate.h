// gate.h: from a gate packet to how much is run (sage/sparse.h): layers, newest tokens, window. A pure function.
#ifndef SAGE_ENGINE_SAGE_GATE_H_
#define SAGE_ENGINE_SAGE_GATE_H_

#include "sage/sparse.h"
#include "status.h"

namespace sage {

// Every zero of a limit or of a tier's number replaced by its default.
sage_gate_policy WithGateDefaults(const sage_gate_policy& policy);

// E_INVALID_ARGUMENT for a q15 above 32767 and for flags nobody knows.
Result<sage_gate_decision> DecideGate(const sage_gate_packet& packet, const sage_gate_policy& policy);

// Narrows attributes to the decision's window; they are untouched where this fails.
Status ApplyGate(const sage_gate_decision& decision, sage_attention_attributes* attributes);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_GATE_H_
