// backend_list.h: what sage_engine_describe says, as a table for people.
#ifndef SAGE_TOOLS_REPORT_BACKEND_LIST_H_
#define SAGE_TOOLS_REPORT_BACKEND_LIST_H_

#include <cstdio>
#include <string>

namespace sage::tool {

// The plugins found, usable or refused with the reason, and the folders looked into.
void PrintBackends(std::FILE* out, const std::string& describe_json);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_BACKEND_LIST_H_
