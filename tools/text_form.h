// text_form.h: the text forms of a model file, for people: strict JSON, and FlatBuffers text (schema, then data).
//
// Lives in the tool because it needs FlatBuffers' parser, which libsage does not link. What comes out is only well
// formed; whether it is a model is proved by the engine when it is loaded.
#ifndef SAGE_TOOLS_TEXT_FORM_H_
#define SAGE_TOOLS_TEXT_FORM_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"

namespace sage::tool {

// A binary model (bytes 4 to 7 are SAG1) as it is; JSON and FlatBuffers text converted. The name of a file plays no
// part. Errors have the line and what is wrong there; a schema without data is called one.
Result<std::vector<uint8_t>> ModelToBinary(std::string_view content);

// The JSON of a binary model, indented by two. defaults: fields that have their default are written as well. Refuses
// what FlatBuffers' verifier refuses. JSON, binary, JSON again is lossless.
Result<std::string> ModelToJson(std::span<const uint8_t> binary, bool defaults);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_TEXT_FORM_H_
