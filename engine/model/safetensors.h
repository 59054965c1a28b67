// safetensors.h: the header of a safetensors file, and only it: names, types, shapes and where each array lies.
//
//   8 bytes little-endian N | N bytes of JSON | arrays end to end
//   {"__metadata__":{...}, "name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, ...}
//
// Offsets count from the end of the header. Nothing aligns the arrays: published bf16 files start at odd bytes.
#ifndef SAGE_ENGINE_MODEL_SAFETENSORS_H_
#define SAGE_ENGINE_MODEL_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sage/types.h"
#include "status.h"

namespace sage {

struct SafetensorsEntry {
  sage_dtype dtype = 0;    // 0 = a type of the format that this engine does not compute with
  std::string dtype_name;  // as written
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the first byte of the file
  uint64_t bytes = 0;
};

using SafetensorsHeader = std::map<std::string, SafetensorsEntry, std::less<>>;

// file: the whole file. Every entry lies inside it, none overlap, together they cover all of it, and each is as long as
// its shape and type say. E_BAD_DATA otherwise, with the entry's name.
Result<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file);

// "F32", "F8_E4M3" ... as the format spells them; 0 when it is none of ours.
sage_dtype SafetensorsDtype(std::string_view name);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SAFETENSORS_H_
