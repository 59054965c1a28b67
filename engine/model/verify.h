// verify.h: what FlatBuffers' own verifier does not prove. All errors are reported, each with its path and a hint.
#ifndef SAGE_ENGINE_MODEL_VERIFY_H_
#define SAGE_ENGINE_MODEL_VERIFY_H_

#include <vector>

#include "model/graph.h"
#include "model/model.h"
#include "model/sage_params.h"

namespace sage {

// Proves: names unique and resolvable, one producer a tensor, topological order, slots required by each kind present,
// attributes in range and finite, Hq a multiple of Hkv, rank <= 8, shapes unify at the symbols' maxima and at half of
// them, sizes overflow nowhere, and every op is what its kind says (support::CheckOp). A graph that passes never makes
// later code index out of range.
void CheckGraph(const Graph& graph, std::vector<ModelError>* errors);

// Ranges and relations of the SAGE parameters: shares in [0,1], heads divide, head_dim fits, weights fit.
void CheckSageParams(const ExpertParams& params, std::vector<ModelError>* errors);
void CheckSageParams(const MetabolicParams& params, std::vector<ModelError>* errors);
void CheckSageParams(const FusionParams& params, std::vector<ModelError>* errors);

// "nodes[3].attn0.k: tensor ...", joined by newlines, at most `limit` of them and how many more there are.
std::string ErrorText(const std::vector<ModelError>& errors, size_t limit);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_VERIFY_H_
