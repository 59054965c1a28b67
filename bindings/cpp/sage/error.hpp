// error.hpp: exceptions, owned handles and texts: what all of sage.hpp is made of.
//
// Part of sage.hpp, which says how all of it is used.
#ifndef SAGE_CPP_ERROR_HPP_
#define SAGE_CPP_ERROR_HPP_

#include <sage/sage.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The engine has a namespace of this name too; the inline one keeps the two apart where it is linked statically.
namespace sage {
inline namespace cpp {

// What a call of the library refused, in its own words.
class Error : public std::runtime_error {
 public:
  Error(sage_status status, int64_t native_code, const std::string& message)
      : std::runtime_error(message), status_(status), native_code_(native_code) {}
  sage_status status() const noexcept { return status_; }        // SAGE_E_*
  int64_t native_code() const noexcept { return native_code_; }  // errno, cudaError_t, ... or 0
  const char* status_name() const noexcept { return sage_status_name(status_); }

 private:
  sage_status status_;
  int64_t native_code_;
};

namespace detail {

// call(sage_error*) -> sage_status
template <class Call>
void Check(Call&& call) {
  sage_error error{};
  error.struct_size = sizeof error;
  const sage_status status = call(&error);
  if (status != SAGE_OK) throw Error(status, error.native_code, error.message);
}

// call(buffer, capacity, needed, error): asked for the size, then for the content, until it fits: it may grow between.
template <class Container, class Call>
Container Fetch(Call&& call) {
  Container out;
  uint64_t needed = 0;
  Check([&](sage_error* error) { return call(nullptr, uint64_t{0}, &needed, error); });
  while (true) {
    out.resize(needed);
    const uint64_t capacity = needed;
    sage_status status = SAGE_OK;
    Check([&](sage_error* error) {
      status = call(out.data(), capacity, &needed, error);
      return status == SAGE_E_BUFFER_TOO_SMALL && needed > capacity ? SAGE_OK : status;
    });
    if (status == SAGE_OK) break;
  }
  out.resize(needed);
  return out;
}

template <class Call>
std::string FetchText(Call&& call) {
  std::string text = Fetch<std::string>(call);
  text.resize(text.empty() ? 0 : text.size() - 1);  // the NUL
  return text;
}

// loaded: sage_abi_version() of the library at hand. Its minor may be newer than the headers this was compiled with.
inline void RequireAbi(uint32_t loaded) {
  const uint32_t major = loaded >> 16, minor = loaded & 0xffff;
  constexpr uint32_t kMajor = SAGE_ABI_MAJOR, kMinor = SAGE_ABI_MINOR;
  if (major == kMajor && minor + 1 > kMinor) return;
  const auto name = [](uint32_t a, uint32_t b) { return std::to_string(a) + "." + std::to_string(b); };
  throw Error(SAGE_E_ABI_MISMATCH, 0,
              "libsage " + std::string(sage_version()) + " has ABI " + name(major, minor) +
                  ", this program was compiled for " + name(kMajor, kMinor) +
                  "; install that library or compile again");
}

template <auto kDestroy>
struct Destroyer {
  template <class Handle>
  void operator()(Handle* handle) const noexcept {
    kDestroy(handle);
  }
};
template <class Handle, auto kDestroy>
using Owned = std::unique_ptr<Handle, Destroyer<kDestroy>>;

// What callbacks are lent: alive as long as any handle that may call them.
struct Callbacks {
  std::function<void(int32_t level, std::string_view text)> log;
  std::function<bool()> cancel;
};
using Keep = std::vector<std::shared_ptr<Callbacks>>;

inline Keep Join(Keep keep, const std::shared_ptr<Callbacks>& more) {
  if (more != nullptr) keep.push_back(more);
  return keep;
}

}  // namespace detail

// "0.3.1", of the library that is loaded.
inline std::string version() { return sage_version(); }
// Compiler, git id, baseline; free text.
inline std::string build_info() { return sage_build_info(); }

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_ERROR_HPP_
