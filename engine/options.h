// options.h: key = value, checked where they are used; an unknown key or value is refused with the nearest known one.
#ifndef SAGE_ENGINE_OPTIONS_H_
#define SAGE_ENGINE_OPTIONS_H_

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sage/sage.h"
#include "status.h"

namespace sage {

// What a caller set: text by key, and the callbacks it lends. A copy is taken where options are used.
struct Options {
  std::map<std::string, std::string, std::less<>> values;

  sage_log_fn log = nullptr;
  void* log_user = nullptr;
  sage_cancel_fn cancel = nullptr;
  void* cancel_user = nullptr;
  sage_alloc_fn alloc = nullptr;
  sage_free_fn free = nullptr;
  void* alloc_user = nullptr;
  sage_parallel_for_fn parallel_for = nullptr;
  uint32_t num_workers = 0;
  void* parallel_user = nullptr;
};

// One known option: the table that --help, the docs and the "did you mean" come from.
struct OptionSpec {
  const char* key;       // "threads"; a key with a dot ("cpu.isa") is a backend's and not in the table
  const char* values;    // "1..256", "off|first|always", "text"
  const char* fallback;  // the default, as text
  const char* scope;     // "engine", "session", "plan": where it is read
  const char* help;
};
std::span<const OptionSpec> KnownOptions();

// Refuses a key that is in no table (backends' dotted keys pass when the backend exists is checked by the engine).
Status CheckOptionKey(std::string_view key);

// Typed reads; absent = fallback. The error names key, value and what is accepted.
Result<int64_t> IntegerOption(const Options& options, std::string_view key, int64_t minimum, int64_t maximum,
                              int64_t fallback);
Result<bool> BoolOption(const Options& options, std::string_view key, bool fallback);  // true|false|1|0|on|off
Result<double> NumberOption(const Options& options, std::string_view key, double minimum, double maximum,
                            double fallback);
std::string TextOption(const Options& options, std::string_view key, std::string_view fallback);
Result<uint32_t> ChoiceOption(const Options& options, std::string_view key, std::span<const std::string_view> choices,
                              uint32_t fallback);

// The nearest of `known` to `given` by edit distance, or empty when none is near.
std::string NearestName(std::string_view given, std::span<const std::string_view> known);

}  // namespace sage

#endif  // SAGE_ENGINE_OPTIONS_H_
