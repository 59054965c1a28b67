// c_api.cc: sage.h's version, options and engine. Every function is a border (handles.h) round one call inside.
#include <stdlib.h>
#include <string.h>

#include "fmt/format.h"
#include "handles.h"

using sage::Border;
using sage::NullArgument;
using sage::SharedBorder;
using sage::Status;

namespace sage {
namespace {

// `ends`: how many zero bytes follow what is at `from`.
Status CopyOut(const char* function, std::string_view from, uint64_t ends, void* buffer, uint64_t capacity,
               uint64_t* needed) {
  if (needed == nullptr) return NullArgument(function, "needed");
  *needed = from.size() + ends;
  if (buffer == nullptr) return {};
  if (capacity < *needed)
    return Status(SAGE_E_BUFFER_TOO_SMALL, fmt::format("{}: the buffer has {} bytes, {} are needed; nothing was copied",
                                                       function, capacity, *needed));
  if (!from.empty()) memcpy(buffer, from.data(), from.size());
  memset(static_cast<char*>(buffer) + from.size(), 0, ends);
  return {};
}

}  // namespace

Status CopyText(const char* function, std::string_view text, char* buffer, uint64_t capacity, uint64_t* needed) {
  return CopyOut(function, text, 1, buffer, capacity, needed);
}

Status CopyBytes(const char* function, std::string_view bytes, void* buffer, uint64_t capacity, uint64_t* needed) {
  return CopyOut(function, bytes, 0, buffer, capacity, needed);
}

}  // namespace sage

extern "C" {

const char* sage_version(void) { return SAGE_VERSION; }
uint32_t sage_abi_version(void) { return (uint32_t{SAGE_ABI_MAJOR} << 16) | SAGE_ABI_MINOR; }
const char* sage_build_info(void) { return SAGE_BUILD_INFO; }
const char* sage_status_name(sage_status status) { return sage::StatusName(status); }

// ---- options ----

sage_status sage_options_create(sage_options** out, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_options_create", "out");
    *out = nullptr;
    *out = new sage_options();
    return {};
  });
}

void sage_options_destroy(sage_options* options) { delete options; }

sage_status sage_options_set(sage_options* options, const char* key, const char* value, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (options == nullptr) return NullArgument("sage_options_set", "options");
    if (key == nullptr) return NullArgument("sage_options_set", "key");
    if (value == nullptr) return NullArgument("sage_options_set", "value");
    options->options.values[key] = value;
    return {};
  });
}

sage_status sage_options_set_log(sage_options* options, sage_log_fn fn, void* user, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (options == nullptr) return NullArgument("sage_options_set_log", "options");
    options->options.log = fn, options->options.log_user = user;
    return {};
  });
}

sage_status sage_options_set_cancel(sage_options* options, sage_cancel_fn fn, void* user, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (options == nullptr) return NullArgument("sage_options_set_cancel", "options");
    options->options.cancel = fn, options->options.cancel_user = user;
    return {};
  });
}

sage_status sage_options_set_allocator(sage_options* options, sage_alloc_fn alloc, sage_free_fn free_fn, void* user,
                                       sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (options == nullptr) return NullArgument("sage_options_set_allocator", "options");
    if ((alloc == nullptr) != (free_fn == nullptr))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    "sage_options_set_allocator: alloc and free_fn come together, one of them is null");
    options->options.alloc = alloc, options->options.free = free_fn, options->options.alloc_user = user;
    return {};
  });
}

sage_status sage_options_set_parallel_for(sage_options* options, sage_parallel_for_fn fn, uint32_t num_workers,
                                          void* user, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (options == nullptr) return NullArgument("sage_options_set_parallel_for", "options");
    if (fn != nullptr && (num_workers < 1 || num_workers > 256))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("sage_options_set_parallel_for: num_workers is {}, 1 to 256 is expected", num_workers));
    options->options.parallel_for = fn, options->options.parallel_user = user;
    options->options.num_workers = fn == nullptr ? 0 : num_workers;
    return {};
  });
}

// ---- engine ----

sage_status sage_engine_create(const sage_options* options, sage_engine** out, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_engine_create", "out");
    *out = nullptr;
    SAGE_ASSIGN_OR_RETURN(std::shared_ptr<sage::Engine> engine, sage::Engine::Create(sage::OptionsOf(options)));
    auto handle = std::make_unique<sage_engine>();
    handle->engine = std::move(engine);
    *out = handle.release();
    return {};
  });
}

void sage_engine_destroy(sage_engine* engine) { sage::DestroyHandle(engine); }

sage_status sage_engine_load_plugin(sage_engine* engine, const char* absolute_path, sage_error* err) {
  return SharedBorder(__func__, "engine", engine, err, [&]() -> Status {
    if (absolute_path == nullptr) return NullArgument("sage_engine_load_plugin", "absolute_path");
    return engine->engine->LoadPlugin(absolute_path);
  });
}

uint32_t sage_engine_backend_count(const sage_engine* engine) {
  if (engine == nullptr || !engine->engine->SameProcess()) return 0;
  const sage::SharedCall<const sage_engine> call(engine);
  return static_cast<uint32_t>(engine->engine->backend_count());
}

const char* sage_engine_backend_name(const sage_engine* engine, uint32_t index) {
  if (engine == nullptr || !engine->engine->SameProcess()) return nullptr;
  const sage::SharedCall<const sage_engine> call(engine);
  return engine->engine->backend_name(index);
}

sage_status sage_engine_describe(const sage_engine* engine, char* buffer, uint64_t capacity, uint64_t* needed,
                                 sage_error* err) {
  return SharedBorder(__func__, "engine", engine, err, [&]() -> Status {
    sage::JsonWriter out;
    engine->engine->Describe(out);
    return sage::CopyText("sage_engine_describe", out.text(), buffer, capacity, needed);
  });
}

}  // extern "C"
