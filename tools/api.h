// api.h: the C API with owners and exceptions, for the tool's own use. Everything the tool does goes through sage.h.
#ifndef SAGE_TOOLS_API_H_
#define SAGE_TOOLS_API_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "exit_code.h"
#include "sage/sage.h"

namespace sage::tool {

struct Destroy {
  void operator()(sage_options* p) const { sage_options_destroy(p); }
  void operator()(sage_engine* p) const { sage_engine_destroy(p); }
  void operator()(sage_model* p) const { sage_model_destroy(p); }
  void operator()(sage_session* p) const { sage_session_destroy(p); }
  void operator()(sage_attention_plan* p) const { sage_attention_plan_destroy(p); }
  void operator()(sage_attention_context* p) const { sage_attention_context_destroy(p); }
};
using OptionsPtr = std::unique_ptr<sage_options, Destroy>;
using EnginePtr = std::unique_ptr<sage_engine, Destroy>;
using ModelPtr = std::unique_ptr<sage_model, Destroy>;
using SessionPtr = std::unique_ptr<sage_session, Destroy>;
using PlanPtr = std::unique_ptr<sage_attention_plan, Destroy>;
using ContextPtr = std::unique_ptr<sage_attention_context, Destroy>;

// An error slot ready for a call.
struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
};

// Throws Failure with the slot's message (and `what` in front, if not empty) unless status is SAGE_OK.
void Require(sage_status status, const Error& error, const std::string& what = {});

// One of the (buffer, capacity, needed) texts of a handle, at whatever size it has.
template <class Handle>
std::string TextOf(sage_status (*function)(Handle*, char*, uint64_t, uint64_t*, sage_error*), Handle* handle) {
  Error error;
  uint64_t needed = 0;
  Require(function(handle, nullptr, 0, &needed, &error), error);
  std::vector<char> buffer(needed);
  Require(function(handle, buffer.data(), buffer.size(), &needed, &error), error);
  return std::string(buffer.data());
}
template <class Handle>
std::string TextOf(sage_status (*function)(const Handle*, char*, uint64_t, uint64_t*, sage_error*), Handle* handle) {
  Error error;
  uint64_t needed = 0;
  Require(function(handle, nullptr, 0, &needed, &error), error);
  std::vector<char> buffer(needed);
  Require(function(handle, buffer.data(), buffer.size(), &needed, &error), error);
  return std::string(buffer.data());
}

}  // namespace sage::tool

#endif  // SAGE_TOOLS_API_H_
