// output.h: how anything leaves the tool: JSON as text, stdout's end, and what becomes of an exception.
#ifndef SAGE_TOOLS_OUTPUT_H_
#define SAGE_TOOLS_OUTPUT_H_

#include <functional>
#include <string>

namespace sage::tool {

// A value of nlohmann's as text. File names need not be UTF-8, JSON has to be: what is not becomes U+FFFD.
template <class Json>
std::string JsonText(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Runs body, flushes stdout and turns exceptions into a sentence on stderr and an exit code. A reader that has gone
// (`| head -1`) is no error worth a word: the code is that of a program ended by SIGPIPE.
int Guarded(const std::function<int()>& body);

// One line of data, at once, since a reader may wait for it.
void PrintLine(std::string_view line);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_OUTPUT_H_
