// names.h: names from a file: which are acceptable, and the hint when one is not there.
#ifndef SAGE_ENGINE_MODEL_NAMES_H_
#define SAGE_ENGINE_MODEL_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

namespace sage {

inline constexpr size_t kMaxNameBytes = 256;

// Null when the name is fine, else what is wrong with it: empty, too long, not UTF-8, control characters.
const char* NameFault(std::string_view name);

// `; did you mean "k"?` or empty.
std::string DidYouMean(std::string_view given, const std::vector<std::string_view>& known);

// [a-z0-9_]{1,32}
bool IsBackendName(std::string_view name);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_NAMES_H_
