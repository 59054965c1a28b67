// tuned_tiles.h: what backend cpu measured and keeps in a file, as doctor and explain show it. Only looks: which of the
// choices hold on this machine is the backend's to know, and its verdicts say so.
#ifndef SAGE_TOOLS_REPORT_TUNED_TILES_H_
#define SAGE_TOOLS_REPORT_TUNED_TILES_H_

#include <nlohmann/json_fwd.hpp>

#include "common.h"

namespace sage::tool {

// {"file": path or null, "choices": [...], "note": why there are none, where that is not plain}. The file is the option
// cpu.tune_file's, or the engine's default. Never fails.
nlohmann::ordered_json TunedTiles(const EngineFlags& flags, const nlohmann::ordered_json& describe);
// One line for explain, two and one for each choice for doctor.
void PrintTunedFile(const nlohmann::ordered_json& tuned);
void PrintTunedChoices(const nlohmann::ordered_json& tuned);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_TUNED_TILES_H_
