// pin.h: the exact sizes and digests of a model's weight files, written into the model, so that from then on a file
// that was exchanged or damaged is refused.
#ifndef SAGE_TOOLS_PIN_H_
#define SAGE_TOOLS_PIN_H_

#include <string>

namespace sage::tool {

// json: a model as text; folder: where its weight files lie. Returns the text with `size` and `sha256` of every weight
// file as they are now. Failure(kExitBadFile) where one is missing, leaves the folder or is no regular file.
std::string PinWeights(const std::string& json, const std::string& folder);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_PIN_H_
