// owned_tensor.h: a tensor with its own memory, any dtype, any strides, read and written as doubles.
//
// Its conversions are written apart from those of the backends under test: by powers of two, not by bits.
#ifndef SAGE_TESTS_SUPPORT_OWNED_TENSOR_H_
#define SAGE_TESTS_SUPPORT_OWNED_TENSOR_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "sage/support/check_op.h"

namespace sage::test {

// A small binary float of `exponent` and `mantissa` bits as it is stored, and back. fn: E4M3FN, no infinity.
inline double DecodeSmallFloat(uint32_t bits, int exponent, int mantissa, bool fn = false) {
  const uint32_t fraction = bits & ((1u << mantissa) - 1), top = (1u << exponent) - 1;
  const uint32_t power = (bits >> mantissa) & top;
  const double sign = (bits >> (exponent + mantissa)) & 1 ? -1.0 : 1.0;
  const int bias = (1 << (exponent - 1)) - 1;
  if (power == top && !fn) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
  if (power == top && fn && fraction == (1u << mantissa) - 1) return std::numeric_limits<double>::quiet_NaN();
  const double one = std::ldexp(1.0, mantissa);
  if (power == 0) return sign * std::ldexp(fraction / one, 1 - bias);
  return sign * std::ldexp(1.0 + fraction / one, static_cast<int>(power) - bias);
}

// Round to nearest even; too large becomes infinity (fn: NaN).
inline uint32_t EncodeSmallFloat(double value, int exponent, int mantissa, bool fn = false) {
  const uint32_t sign = std::signbit(value) ? 1u << (exponent + mantissa) : 0, top = (1u << exponent) - 1;
  const uint32_t nan = sign | (top << mantissa) | (fn ? (1u << mantissa) - 1 : 1u << (mantissa - 1));
  if (std::isnan(value)) return nan;
  const uint32_t infinity = fn ? nan : sign | (top << mantissa);
  if (std::isinf(value)) return infinity;
  const int bias = (1 << (exponent - 1)) - 1;
  int power = value == 0 ? 1 - bias : std::ilogb(value);
  if (power < 1 - bias) power = 1 - bias;
  const double steps = std::nearbyint(std::ldexp(std::fabs(value), mantissa - power));  // exact but for this rounding
  const double largest = fn ? std::ldexp(1.75, bias + 1) : std::ldexp(2.0 - std::ldexp(1.0, -mantissa), bias);
  if (std::ldexp(steps, power - mantissa) > largest) return infinity;
  const uint32_t field = static_cast<uint32_t>(power + bias - 1) << mantissa;
  return sign | (field + static_cast<uint32_t>(steps));  // a carry or a leading one moves into the exponent by itself
}

class OwnedTensor {
 public:
  OwnedTensor() = default;  // absent: RunOp and TestOp take it as a null slot

  // Row-major, zero-filled.
  OwnedTensor(sage_dtype dtype, const std::vector<int64_t>& shape) {
    std::vector<int64_t> strides(shape.size());
    int64_t step = 1;
    for (size_t i = shape.size(); i-- > 0;) strides[i] = step, step *= shape[i];
    Init(dtype, shape, strides, 0);
  }

  // Any strides, 0 and negative included; extra_bytes moves the data off its alignment.
  OwnedTensor(sage_dtype dtype, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
              uint32_t extra_bytes = 0) {
    Init(dtype, shape, strides, extra_bytes);
  }

  // The same logical shape stored in another axis order, e.g. {0,2,1,3} puts [B,H,S,D] into memory as [B,S,H,D].
  static OwnedTensor Ordered(sage_dtype dtype, const std::vector<int64_t>& shape, const std::vector<int>& order,
                             uint32_t extra_bytes = 0) {
    std::vector<int64_t> strides(shape.size());
    int64_t step = 1;
    for (size_t i = order.size(); i-- > 0;) {
      const size_t axis = static_cast<size_t>(order[i]);
      strides[axis] = step, step *= shape[axis];
    }
    return OwnedTensor(dtype, shape, strides, extra_bytes);
  }

  OwnedTensor(const OwnedTensor& other) { *this = other; }
  OwnedTensor& operator=(const OwnedTensor& other) {
    tensor_ = other.tensor_, bytes_ = other.bytes_, start_ = other.start_, present_ = other.present_;
    if (present_) tensor_.data = bytes_.data() + start_;
    return *this;
  }

  bool present() const { return present_; }
  const sage_tensor* tensor() const { return present_ ? &tensor_ : nullptr; }
  sage_tensor& description() { return tensor_; }
  sage_dtype dtype() const { return tensor_.dtype; }
  uint32_t rank() const { return tensor_.rank; }
  int64_t dim(uint32_t axis) const { return tensor_.shape[axis]; }
  uint64_t size() const {
    uint64_t n = present_ ? 1 : 0;
    for (uint32_t i = 0; i < tensor_.rank; ++i) n *= static_cast<uint64_t>(tensor_.shape[i]);
    return n;
  }
  OwnedTensor& Constant() {
    tensor_.flags |= SAGE_TENSOR_CONSTANT;
    return *this;
  }
  const std::vector<unsigned char>& bytes() const { return bytes_; }

  // Elements by index, or by their place in row-major order of the shape, whatever the strides.
  double At(const std::vector<int64_t>& index) const { return Load(Address(index)); }
  void Set(const std::vector<int64_t>& index, double value) { Store(Address(index), value); }
  double Get(uint64_t linear) const { return Load(Address(Unravel(linear))); }
  void Put(uint64_t linear, double value) { Store(Address(Unravel(linear)), value); }
  std::vector<double> Values() const {
    std::vector<double> values(size());
    for (uint64_t i = 0; i < values.size(); ++i) values[i] = Get(i);
    return values;
  }

  OwnedTensor& Fill(double value) {
    return FillBy([&](uint64_t) { return value; });
  }
  OwnedTensor& FillBy(const std::function<double(uint64_t)>& f) {
    for (uint64_t i = 0, n = size(); i < n; ++i) Put(i, f(i));
    return *this;
  }
  OwnedTensor& FillValues(const std::vector<double>& values) {
    return FillBy([&](uint64_t i) { return values.at(i); });
  }
  // Seeded; the same values on every machine.
  OwnedTensor& FillUniform(uint64_t seed, double low = -1.0, double high = 1.0) {
    std::mt19937_64 random(seed);
    return FillBy([&](uint64_t) { return low + (high - low) * Unit(random); });
  }
  OwnedTensor& FillNormal(uint64_t seed, double deviation = 1.0) {
    std::mt19937_64 random(seed);
    return FillBy([&](uint64_t) {
      const double radius = std::sqrt(-2.0 * std::log(Unit(random)));
      return deviation * radius * std::cos(6.283185307179586 * Unit(random));
    });
  }
  // Integers low..high, both included.
  OwnedTensor& FillIntegers(uint64_t seed, int64_t low, int64_t high) {
    std::mt19937_64 random(seed);
    return FillBy([&](uint64_t) {
      return static_cast<double>(low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1)));
    });
  }

 private:
  static double Unit(std::mt19937_64& random) { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; }

  void Init(sage_dtype dtype, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
            uint32_t extra_bytes) {
    sage_tensor_init(&tensor_, dtype, static_cast<uint32_t>(shape.size()), shape.data(), nullptr);
    int64_t low = 0, high = 0;
    for (uint32_t i = 0; i < tensor_.rank; ++i) {
      tensor_.stride[i] = strides[i];
      if (shape[i] > 0) (strides[i] < 0 ? low : high) += strides[i] * (shape[i] - 1);
    }
    const size_t element = support::DtypeSize(dtype);
    if (element == 0) throw std::invalid_argument("OwnedTensor: unknown dtype");
    bytes_.assign(static_cast<size_t>(high - low + 1) * element + extra_bytes, 0);
    start_ = static_cast<size_t>(-low) * element + extra_bytes;
    tensor_.data = bytes_.data() + start_;
    present_ = true;
  }

  std::vector<int64_t> Unravel(uint64_t linear) const {
    std::vector<int64_t> index(tensor_.rank);
    for (uint32_t i = tensor_.rank; i-- > 0;) {
      index[i] = static_cast<int64_t>(linear % static_cast<uint64_t>(tensor_.shape[i]));
      linear /= static_cast<uint64_t>(tensor_.shape[i]);
    }
    return index;
  }

  size_t Address(const std::vector<int64_t>& index) const {
    if (index.size() != tensor_.rank) throw std::out_of_range("OwnedTensor: index of another rank");
    int64_t offset = 0;
    for (uint32_t i = 0; i < tensor_.rank; ++i) {
      if (index[i] < 0 || index[i] >= tensor_.shape[i]) throw std::out_of_range("OwnedTensor: index outside");
      offset += index[i] * tensor_.stride[i];
    }
    return start_ + static_cast<size_t>(offset * static_cast<int64_t>(support::DtypeSize(tensor_.dtype)));
  }

  template <class T>
  double LoadAs(size_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return static_cast<double>(value);
  }
  template <class T>
  void StoreAs(size_t at, T value) {
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  uint32_t Bits(size_t at) const {
    uint16_t wide = 0;
    std::memcpy(&wide, bytes_.data() + at, support::DtypeSize(tensor_.dtype));
    return wide;
  }

  double Load(size_t at) const {
    switch (tensor_.dtype) {
      case SAGE_F64:
        return LoadAs<double>(at);
      case SAGE_F32:
        return static_cast<double>(LoadAs<float>(at));
      case SAGE_F16:
        return DecodeSmallFloat(Bits(at), 5, 10);
      case SAGE_BF16:
        return DecodeSmallFloat(Bits(at), 8, 7);
      case SAGE_F8_E4M3FN:
        return DecodeSmallFloat(Bits(at), 4, 3, true);
      case SAGE_F8_E5M2:
        return DecodeSmallFloat(Bits(at), 5, 2);
      case SAGE_I8:
        return LoadAs<int8_t>(at);
      case SAGE_I16:
        return LoadAs<int16_t>(at);
      case SAGE_I32:
        return LoadAs<int32_t>(at);
      case SAGE_I64:
        return LoadAs<int64_t>(at);
      case SAGE_U64:
        return LoadAs<uint64_t>(at);
      default:
        return LoadAs<uint8_t>(at);
    }
  }

  void Store(size_t at, double value) {
    switch (tensor_.dtype) {
      case SAGE_F64:
        return StoreAs(at, value);
      case SAGE_F32:
        return StoreAs(at, static_cast<float>(value));
      case SAGE_F16:
        return StoreAs(at, static_cast<uint16_t>(EncodeSmallFloat(value, 5, 10)));
      case SAGE_BF16:
        return StoreAs(at, static_cast<uint16_t>(EncodeSmallFloat(value, 8, 7)));
      case SAGE_F8_E4M3FN:
        return StoreAs(at, static_cast<uint8_t>(EncodeSmallFloat(value, 4, 3, true)));
      case SAGE_F8_E5M2:
        return StoreAs(at, static_cast<uint8_t>(EncodeSmallFloat(value, 5, 2)));
      case SAGE_I8:
        return StoreAs(at, static_cast<int8_t>(value));
      case SAGE_I16:
        return StoreAs(at, static_cast<int16_t>(value));
      case SAGE_I32:
        return StoreAs(at, static_cast<int32_t>(value));
      case SAGE_I64:
        return StoreAs(at, static_cast<int64_t>(value));
      case SAGE_U64:
        return StoreAs(at, static_cast<uint64_t>(value));
      default:
        return StoreAs(at, static_cast<uint8_t>(value));
    }
  }

  sage_tensor tensor_{};
  std::vector<unsigned char> bytes_;
  size_t start_ = 0;
  bool present_ = false;
};

// The largest |a - b| over two tensors of one shape; NaN against NaN and equal infinities count 0, else infinity.
inline double MaxDifference(const OwnedTensor& a, const OwnedTensor& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double largest = 0;
  for (uint64_t i = 0, n = a.size(); i < n; ++i) {
    const double x = a.Get(i), y = b.Get(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double difference = std::fabs(x - y);
    if (!(difference <= largest)) largest = std::isnan(difference) ? HUGE_VAL : difference;
  }
  return largest;
}

// Every byte equal, padding between strides included.
inline bool BitwiseEqual(const OwnedTensor& a, const OwnedTensor& b) { return a.bytes() == b.bytes(); }

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_OWNED_TENSOR_H_
