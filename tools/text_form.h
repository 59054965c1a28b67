// text_form.h: a model as text: JSON for people and diffs, FlatBuffers text (schema and data), and back.
//
// It lives beside the tool because FlatBuffers' parser needs libflatbuffers, which the engine does not link. JSON is
// written here and not by FlatBuffers' generator, which cuts doubles to 12 digits.
#ifndef SAGE_TOOLS_TEXT_FORM_H_
#define SAGE_TOOLS_TEXT_FORM_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"

namespace sage {

// The binary form of whatever was read from a file, decided by its bytes, never by its name: a binary model (bytes 4-7
// are SAG1) and what is no text at all are returned as they are, for the engine to judge; JSON, and a schema followed
// by data, are compiled. E_BAD_DATA names line and column and, for an unknown name, the nearest known one. A schema
// without data is "a FlatBuffers schema, not a model". Input is bounded at 64 MiB and a nesting depth of 64.
Result<std::vector<uint8_t>> ModelToBinary(std::string_view text);

// The JSON of a binary model, two spaces a level, ending in a newline. Lossless: compiled again it gives the same
// model. defaults: fields that hold their default are written too, absent nullable ones as null. E_BAD_DATA when the
// bytes are no model or have a number where an enumerator or a graph kind should be that the schema does not know.
Result<std::string> ModelToJson(std::span<const uint8_t> model, bool defaults);

}  // namespace sage

#endif  // SAGE_TOOLS_TEXT_FORM_H_
