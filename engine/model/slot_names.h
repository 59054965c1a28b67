// slot_names.h: what the model file calls each slot of an op; the words of every message about a node.
#ifndef SAGE_ENGINE_MODEL_SLOT_NAMES_H_
#define SAGE_ENGINE_MODEL_SLOT_NAMES_H_

#include <cstdint>
#include <string>

#include "model/graph.h"

namespace sage {

// "k" for SAGE_ATTN_K of an attention node; "slot 40" where the kind has none of that number.
std::string SlotName(uint32_t kind, uint32_t slot);
// "nodes[3].attn0.k"; with slot = UINT32_MAX only "nodes[3].attn0".
std::string NodePath(size_t index, const Node& node, uint32_t slot = UINT32_MAX);

// The ABI's counts and directions, Reshape (0 X, 1 Y) included.
uint32_t NodeSlotCount(uint32_t kind);
bool NodeSlotIsOutput(uint32_t kind, uint32_t slot);
// Bit s: slot s must be there. Optional slots whose need depends on others are the op check's business.
uint32_t RequiredSlots(uint32_t kind);
// "Attention", "MatMul": the file's name of the kind; null when unknown.
const char* NodeKindName(uint32_t kind);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SLOT_NAMES_H_
