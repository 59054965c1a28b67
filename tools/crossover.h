// crossover.h: `bench --crossover`: flash and whole score rows over lengths, in turns, and where the faster one
// changes.
#ifndef SAGE_TOOLS_CROSSOVER_H_
#define SAGE_TOOLS_CROSSOVER_H_

#include <string>

#include "common.h"

namespace sage::tool {

// line: an attention problem, whose lengths are replaced. format: text, md, csv or json. seconds of timing a length.
int Crossover(const EngineFlags& engine, const SessionFlags& session, const std::string& line,
              const std::string& lengths, double seconds, const std::string& format);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_CROSSOVER_H_
