// tensor.hpp: a description of memory that somebody else owns.
//
// Part of sage.hpp, which says how all of it is used.
#ifndef SAGE_CPP_TENSOR_HPP_
#define SAGE_CPP_TENSOR_HPP_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "error.hpp"

namespace sage {
inline namespace cpp {

template <class T>
constexpr sage_dtype DtypeOf() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, float>)
    return SAGE_F32;
  else if constexpr (std::is_same_v<U, double>)
    return SAGE_F64;
  else if constexpr (std::is_same_v<U, bool>)
    return SAGE_BOOL;
  else if constexpr (std::is_same_v<U, int8_t>)
    return SAGE_I8;
  else if constexpr (std::is_same_v<U, uint8_t>)
    return SAGE_U8;
  else if constexpr (std::is_same_v<U, int16_t>)
    return SAGE_I16;
  else if constexpr (std::is_same_v<U, int32_t>)
    return SAGE_I32;
  else if constexpr (std::is_same_v<U, int64_t>)
    return SAGE_I64;
  else if constexpr (std::is_same_v<U, uint64_t>)
    return SAGE_U64;
  else
    static_assert(sizeof(U) == 0, "no tensor has elements of this type; for f16, bf16 and fp8 name the dtype");
}

// A view of lengths, for arguments: {2, 3}, a vector, a span.
class Shape : public std::span<const int64_t> {
 public:
  Shape(std::initializer_list<int64_t> lengths) : span(lengths.begin(), lengths.size()) {}
  Shape(std::span<const int64_t> lengths) : span(lengths) {}
  Shape(const std::vector<int64_t>& lengths) : span(lengths) {}
};

inline int64_t CountOf(Shape shape) {
  int64_t count = 1;
  for (const int64_t length : shape)
    if (length < 0 || __builtin_mul_overflow(count, length, &count))
      throw Error(SAGE_E_INVALID_ARGUMENT, 0, "a shape has a negative length or too many elements");
  return count;
}

// A description of memory that somebody else owns.
class Tensor {
 public:
  // Contiguous, row-major. data: null = a description only.
  Tensor(sage_dtype dtype, Shape shape, const void* data = nullptr) {
    if (shape.size() > SAGE_MAX_RANK)
      throw Error(SAGE_E_INVALID_ARGUMENT, 0, "a tensor has " + std::to_string(shape.size()) + " axes; 8 at most");
    sage_tensor_init(&raw_, dtype, static_cast<uint32_t>(shape.size()), shape.data(), const_cast<void*>(data));
  }
  // Of a vector, array or span, whose length must be that of the shape.
  template <std::ranges::contiguous_range Range>
  requires std::ranges::borrowed_range<Range> && std::ranges::sized_range<Range> Tensor(Range&& data, Shape shape)
      : Tensor(DtypeOf<std::ranges::range_value_t<Range>>(), shape, std::ranges::data(data)) {
    if (const int64_t count = CountOf(shape); std::ranges::size(data) != static_cast<uint64_t>(count))
      throw Error(SAGE_E_INVALID_ARGUMENT, 0,
                  "a shape of " + std::to_string(count) + " elements was given with an array of " +
                      std::to_string(std::ranges::size(data)));
  }

  // In elements; 0 repeats an axis, negative walks back.
  Tensor& strides(Shape strides) {
    if (strides.size() != raw_.rank) throw Error(SAGE_E_INVALID_ARGUMENT, 0, "a stride for every axis is needed");
    std::copy(strides.begin(), strides.end(), raw_.stride);
    return *this;
  }
  // The bytes stay as they are until the plan is gone: it may prepack them.
  Tensor& constant() {
    raw_.flags |= SAGE_TENSOR_CONSTANT;
    return *this;
  }
  Tensor& on(int32_t device_type, int32_t device_id) {
    raw_.device_type = device_type, raw_.device_id = device_id;
    return *this;
  }
  const sage_tensor& raw() const { return raw_; }

 private:
  sage_tensor raw_{};
};

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_TENSOR_HPP_
