// status.h: errors are values with a sentence: what was given, what was expected, what to do.
//
// A success carries no text and allocates nothing, so a run may return it freely.
#ifndef SAGE_ENGINE_STATUS_H_
#define SAGE_ENGINE_STATUS_H_

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "sage/types.h"

namespace sage {

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  Status(sage_status code, std::string message, int64_t native_code = 0)
      : code_(code), native_code_(native_code), message_(std::move(message)) {}

  bool ok() const { return code_ == SAGE_OK; }
  sage_status code() const { return code_; }
  int64_t native_code() const { return native_code_; }  // errno, cudaError_t ..., or 0
  const std::string& message() const { return message_; }

  // The same error with a place in front: "nodes[3].attn0: ...".
  Status At(const std::string& place) const {
    return ok() ? *this : Status(code_, place + ": " + message_, native_code_);
  }

 private:
  sage_status code_ = SAGE_OK;
  int64_t native_code_ = 0;
  std::string message_;
};

// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T given) : value_(std::move(given)) {}  // NOLINT(google-explicit-constructor): reads as a return
  Result(Status error) : status_(std::move(error)) { assert(!status_.ok()); }  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() {
    assert(ok());
    return *value_;
  }
  const T& value() const {
    assert(ok());
    return *value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

// Writes the caller-owned slot (null or size 0: nothing is written; cleared on success) and returns the code.
// The message is cut to fit at a UTF-8 boundary.
sage_status Deliver(const Status& status, sage_error* slot);
// The same from parts, without allocating: "function: what". For a border that caught an exception.
sage_status DeliverText(sage_status code, const char* function, const char* what, sage_error* slot) noexcept;

// "SAGE_E_BUSY"; "unknown" for a number that is no status.
const char* StatusName(sage_status status);

#define SAGE_RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                       \
    if (::sage::Status sage_status_ = (expression); !sage_status_.ok()) return sage_status_; \
  } while (false)

#define SAGE_CONCAT_INNER_(a, b) a##b
#define SAGE_CONCAT_(a, b) SAGE_CONCAT_INNER_(a, b)
// SAGE_ASSIGN_OR_RETURN(auto x, F()): x is F's value, or this function returns F's error.
#define SAGE_ASSIGN_OR_RETURN(declaration, expression)                                                  \
  auto SAGE_CONCAT_(sage_result_, __LINE__) = (expression);                                             \
  if (!SAGE_CONCAT_(sage_result_, __LINE__).ok()) return SAGE_CONCAT_(sage_result_, __LINE__).status(); \
  declaration = std::move(*SAGE_CONCAT_(sage_result_, __LINE__))

}  // namespace sage

#endif  // SAGE_ENGINE_STATUS_H_
