// common.h: what verbs share: the flags of engine and session, loading a model in any of its forms, Ctrl-C.
#ifndef SAGE_TOOLS_COMMON_H_
#define SAGE_TOOLS_COMMON_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api.h"
#include "files.h"

namespace CLI {
class App;
}

namespace sage::tool {

// Flags that mean the same in every verb that has them.
struct EngineFlags {
  int threads = 0;  // 0 = the engine's default
  std::vector<std::string> plugins;
  std::vector<std::string> options;  // key=value, anything the library knows
  bool verbose = false;

  // What reaches stderr of the library's log. The engine holds its address: these flags outlive the engine.
  struct LogSink {
    int32_t level = 0;
  };
  std::shared_ptr<LogSink> sink = std::make_shared<LogSink>();

  void AddTo(CLI::App* app);
  // more (optional): adds to the options of the engine, an allocator for one.
  EnginePtr Create(const std::function<void(sage_options*)>& more = nullptr) const;
};

struct SessionFlags {
  std::string backend, accuracy, verify;
  void AddTo(CLI::App* app);
  // With further key=value pairs of the verb's own.
  OptionsPtr Create(const EngineFlags& engine, const std::vector<std::pair<std::string, std::string>>& more = {}) const;
};

// A model file's bytes in binary form, whatever form it was given in (binary, JSON, FlatBuffers text; "-" = stdin).
// weights_folder is the file's folder, or "." for stdin.
struct ModelBytes {
  std::vector<uint8_t> bytes;
  std::string weights_folder;
};
ModelBytes ReadModelBytes(const std::string& path);
ModelPtr LoadModel(sage_engine* engine, const std::string& path);

// Turns SIGINT and SIGTERM into a flag; the second one kills as usual. Interrupted() is what cancel callbacks ask.
void CatchInterrupts();
bool Interrupted();
int32_t CancelCallback(void*);  // a sage_cancel_fn

bool IsTerminal(int descriptor);
// The nearest of `known` to `given`, as `did you mean "x"?` with a leading space and bracket, or "".
std::string DidYouMean(const std::string& given, const std::vector<std::string>& known);
// "12.3 us", "4.5 ms": three significant digits.
std::string Duration(double nanoseconds);
std::string Bytes(double bytes);  // "1.2 MiB"

}  // namespace sage::tool

#endif  // SAGE_TOOLS_COMMON_H_
