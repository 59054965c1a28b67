// feature_names.h: feature bits and op kinds in words, for reasons, explain and describe.
#ifndef SAGE_ENGINE_BACKEND_FEATURE_NAMES_H_
#define SAGE_ENGINE_BACKEND_FEATURE_NAMES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace sage {

// "CAUSAL", "GQA" ... for the SAGE_ATTN_F_* set, lowest bit first; a bit without a name is "bit 40".
std::vector<std::string> FeatureNames(uint64_t features);
// "ATTENTION", "LINEAR" ... for the SAGE_KIND_BITs set.
std::vector<std::string> KindNames(uint64_t kinds);
// "cpu", "cuda" ... for SAGE_CPU ...; "device type 9" for others.
std::string DeviceTypeName(int32_t device_type);

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_FEATURE_NAMES_H_
