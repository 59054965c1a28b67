// op_cases.h: cases of every kind of op besides attention and products, for the tests of every backend: the builders,
// values that are hard for arithmetic, and cases drawn by seed.
#ifndef SAGE_TESTS_PLUGINS_CPU_OP_CASES_H_
#define SAGE_TESTS_PLUGINS_CPU_OP_CASES_H_

#include "op_case.h"

namespace sage::test {

inline OpCase Unary(uint32_t function, double alpha, OwnedTensor x, OwnedTensor y) {
  OpCase c{SAGE_OP_UNARY, [=](TestOp& op) { op.Attributes(sage_unary_attributes{0, function, alpha}); }, {}};
  c.slots = {std::move(x), std::move(y)};
  return c;
}

inline OpCase Binary(uint32_t function, OwnedTensor a, OwnedTensor b, OwnedTensor y) {
  OpCase c{SAGE_OP_BINARY, [=](TestOp& op) { op.Attributes(sage_binary_attributes{0, function}); }, {}};
  c.slots = {std::move(a), std::move(b), std::move(y)};
  return c;
}

// Everything a function may trip over, at every place in a vector.
inline const std::vector<double> kHard = {
    0.0,   -0.0,  1.0,   -1.0,     0.5,          -0.5,      1e-3,   -1e-3,   1e-8,   -1e-8,  3.0, -3.0, 6.0,    -6.0,
    12.0,  -12.0, 30.0,  -30.0,    80.0,         -80.0,     88.7,   -87.4,   89.0,   -104.,  1e4, -1e4, 5e-39,  -5e-39,
    1e-45, 1e30,  -1e30, HUGE_VAL, std::nan(""), -HUGE_VAL, 0.3465, -0.3466, 1.4142, 0.7071, 2.0, 4.0,  -708.4, 709.7};

constexpr sage_dtype kAll[] = {SAGE_I8,  SAGE_I16, SAGE_I32,  SAGE_I64,       SAGE_U8,      SAGE_U64, SAGE_F16,
                               SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F8_E4M3FN, SAGE_F8_E5M2, SAGE_BOOL};

// Bytes that stand for themselves in any dtype.
inline OwnedTensor Bytes(Random& random, sage_dtype dtype, const Shape& shape) {
  OwnedTensor tensor = random.Tensor(dtype, shape);
  if (!support::IsFloat(dtype)) tensor.FillIntegers(random.Seed(), 0, dtype == SAGE_BOOL ? 1 : 100);
  return tensor;
}

inline OpCase Gather(int32_t axis, OwnedTensor x, OwnedTensor indices, OwnedTensor y) {
  OpCase c{SAGE_OP_GATHER, [=](TestOp& op) { op.Attributes(sage_gather_attributes{0, axis}); }, {}};
  c.slots = {std::move(x), std::move(indices), std::move(y)};
  return c;
}

inline OpCase Topk(int32_t axis, bool smallest, OwnedTensor x, OwnedTensor values, OwnedTensor indices) {
  OpCase c{SAGE_OP_TOPK, [=](TestOp& op) { op.Attributes(sage_topk_attributes{0, axis, smallest ? 1u : 0u, 0}); }, {}};
  c.slots = {std::move(x), std::move(values), std::move(indices)};
  return c;
}

inline OpCase Rope(uint32_t style, uint32_t rotary, double base, std::vector<OwnedTensor> slots) {
  OpCase c{SAGE_OP_ROPE, [=](TestOp& op) { op.Attributes(sage_rope_attributes{0, style, rotary, 0, base}); }, {}};
  c.slots = std::move(slots);
  return c;
}

inline Shape Without(const Shape& shape, uint32_t axes) {
  Shape rest;
  for (size_t i = 0; i < shape.size(); ++i)
    if (((axes >> i) & 1) == 0) rest.push_back(shape[i]);
  return rest;
}

inline OpCase Norm(uint32_t mode, int32_t axis, double epsilon, std::vector<OwnedTensor> slots) {
  OpCase c{SAGE_OP_NORM, [=](TestOp& op) { op.Attributes(sage_norm_attributes{0, mode, axis, 0, epsilon}); }, {}};
  c.slots = std::move(slots);
  return c;
}

inline OpCase Softmax(int32_t axis, OwnedTensor x, OwnedTensor y) {
  OpCase c{SAGE_OP_SOFTMAX, [=](TestOp& op) { op.Attributes(sage_softmax_attributes{0, axis}); }, {}};
  c.slots = {std::move(x), std::move(y)};
  return c;
}

inline OpCase Reduce(uint32_t function, uint32_t axes, OwnedTensor x, OwnedTensor y) {
  OpCase c{SAGE_OP_REDUCE, [=](TestOp& op) { op.Attributes(sage_reduce_attributes{0, function, axes, 0}); }, {}};
  c.slots = {std::move(x), std::move(y)};
  return c;
}

inline OpCase Pool(sage_pool_attributes attributes, OwnedTensor x, OwnedTensor mask, OwnedTensor y) {
  OpCase c{SAGE_OP_POOL, [=](TestOp& op) { op.Attributes(attributes); }, {}};
  c.slots = {std::move(x), std::move(mask), std::move(y)};
  return c;
}

// --- any case of a kind: layouts, dtypes and attributes by seed ------------------------------------------------------

inline OpCase AnyUnary(Random& random, uint32_t function, sage_dtype dtype) {
  const Shape shape = random.AnyShape(0, 4, 7);
  return Unary(function, 1.3, random.Tensor(dtype, shape), random.Tensor(dtype, shape, true));
}

// One function over everything it may trip over.
inline OpCase HardUnary(uint32_t function, sage_dtype dtype) {
  const auto n = static_cast<int64_t>(kHard.size());
  OwnedTensor x(dtype, {n + 1});
  x.FillBy([&](uint64_t i) { return kHard[i % kHard.size()]; });
  return Unary(function, 0.7, x, OwnedTensor(dtype, {n + 1}));
}

// A cast between two dtypes, over every pattern of bits; y as it is given.
inline OpCase AnyCast(Random& random, sage_dtype from, sage_dtype to) {
  const Shape shape = {3, 67};
  OwnedTensor x = random.Tensor(from, shape);
  std::mt19937_64 bits(random.Seed());
  auto* data = const_cast<unsigned char*>(x.bytes().data());
  for (size_t i = 0; i < x.bytes().size(); ++i) data[i] = static_cast<unsigned char>(bits() >> 13);
  if (from == SAGE_BOOL) x.FillIntegers(5, 0, 1);
  if (from == SAGE_F32 || from == SAGE_F64) {  // half of them in the range of the small types
    for (uint64_t i = 0; i < x.size(); i += 2)
      x.Put(i, std::ldexp(x.Get(i) == 0 ? 1.0 : 1.5, static_cast<int>(i % 60) - 30));
    for (uint64_t i = 1; i < x.size(); i += 8) x.Put(i, static_cast<double>(random.Between(-70000, 70000)) / 2.0);
  }
  return Unary(SAGE_FN_IDENTITY, 0, x, OwnedTensor(to, shape));
}

inline OpCase AnyBinary(Random& random, uint32_t function, sage_dtype dtype) {
  const Shape shape = random.AnyShape(0, 4, 7);
  return Binary(function, random.Tensor(dtype, shape), random.Tensor(dtype, shape), random.Tensor(dtype, shape, true));
}

// All pairs of hard values.
inline OpCase HardBinary(uint32_t function, sage_dtype dtype) {
  const auto n = static_cast<int64_t>(kHard.size());
  OwnedTensor a(dtype, {n, n}, {1, 0}), b(dtype, {n, n}, {0, 1});
  for (int64_t i = 0; i < n; ++i) {
    a.Set({i, 0}, kHard[static_cast<size_t>(i)]);
    b.Set({0, i}, kHard[static_cast<size_t>(i)]);
  }
  return Binary(function, a, b, OwnedTensor(dtype, {n, n}));
}

inline OpCase AnyNorm(Random& random) {
  const Shape shape = random.AnyShape(1, 4, 7);
  const auto axis = static_cast<int32_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  const Shape region(shape.begin() + axis, shape.end());
  const sage_dtype dtype = random.Float();
  const auto parameter = [&] { return random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), region); };
  const OwnedTensor gamma = parameter(), beta = parameter();
  OpCase c =
      Norm(random.Chance(2) ? SAGE_NORM_LAYER : SAGE_NORM_RMS, axis, 1e-5,
           {random.Tensor(dtype, shape), gamma, beta, OwnedTensor(), OwnedTensor(), random.Tensor(dtype, shape, true)});
  c.scale = 10;
  return c;
}

// NORM over given statistics.
inline OpCase AnyBatchNorm(Random& random) {
  const Shape shape = random.AnyShape(1, 4, 7);
  const auto axis = static_cast<size_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  const Shape channel = {shape[axis]};
  const sage_dtype dtype = random.Float();
  OwnedTensor var = random.Tensor(random.Float(), channel);
  var.FillUniform(random.Seed(), 0.1, 3.0);
  const auto parameter = [&] { return random.Chance(3) ? OwnedTensor() : random.Tensor(random.Float(), channel); };
  const OwnedTensor gamma = parameter(), beta = parameter();
  OpCase c = Norm(SAGE_NORM_BATCH, static_cast<int32_t>(axis), 1e-3,
                  {random.Tensor(dtype, shape), gamma, beta, random.Tensor(random.Float(), channel), var,
                   random.Tensor(dtype, shape, true)});
  c.scale = 10;
  return c;
}

inline OpCase AnySoftmax(Random& random) {
  const Shape shape = random.AnyShape(1, 4, 7);
  const auto axis = static_cast<int32_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  const sage_dtype dtype = random.Float();
  OwnedTensor x = random.Tensor(dtype, shape);
  if (random.Chance(2)) x.FillNormal(random.Seed(), 30.0);
  return Softmax(axis, x, random.Tensor(dtype, shape, true));
}

// Lines of -inf only, of some, with NaN, with inf, and with one value far above the rest.
inline OpCase HardSoftmax(sage_dtype dtype, int64_t length) {
  OwnedTensor x(dtype, {6, length});
  x.FillNormal(3);
  for (int64_t i = 0; i < length; ++i) {
    x.Set({1, i}, -HUGE_VAL);
    if (i % 3 != 0) x.Set({2, i}, -HUGE_VAL);
    if (i == length - 1) x.Set({3, i}, std::nan(""));
    if (i == length / 2) x.Set({4, i}, HUGE_VAL);
    if (i == length - 1) x.Set({5, i}, 2000);  // far above the rest: exp overflows unless it is the one taken off
  }
  return Softmax(1, x, OwnedTensor(dtype, {6, length}));
}

inline OpCase AnyReduce(Random& random, uint32_t function) {
  const Shape shape = random.AnyShape(1, 4, 7);
  const uint32_t all = (1u << shape.size()) - 1;
  const auto axes = static_cast<uint32_t>(random.Between(1, all));
  const sage_dtype dtype = random.Float();
  Shape kept = shape;
  for (size_t i = 0; i < shape.size(); ++i)
    if (((axes >> i) & 1) != 0) kept[i] = 1;
  OwnedTensor x = random.Tensor(dtype, shape);
  if (random.Chance(5) && x.size() > 0)
    x.Put(static_cast<uint64_t>(random.Between(0, static_cast<int64_t>(x.size()) - 1)), std::nan(""));
  OpCase c = Reduce(function, axes, x, random.Tensor(dtype, random.Chance(2) ? kept : Without(shape, axes), true));
  c.scale = 100;
  return c;
}

inline OpCase AnyPool(Random& random, uint32_t function) {
  const int64_t batch = random.Between(1, 4), sequence = random.Between(0, 20);
  const int64_t channels = random.Chance(4) ? random.Between(250, 300) : random.Between(1, 20);
  const sage_dtype dtype = random.Float();
  sage_pool_attributes attributes{};
  attributes.function = function;
  Shape y_shape = {batch, channels};
  if (random.Chance(2)) {
    attributes.window = static_cast<uint32_t>(random.Between(1, 6));
    attributes.stride = static_cast<uint32_t>(random.Between(0, 5));
    attributes.pad_begin = static_cast<uint32_t>(random.Between(0, 8));
    attributes.pad_end = static_cast<uint32_t>(random.Between(0, 8));
    const int64_t padded = sequence + attributes.pad_begin + attributes.pad_end, window = attributes.window;
    const int64_t step = attributes.stride == 0 ? window : attributes.stride;
    y_shape = {batch, padded < window ? 0 : (padded - window) / step + 1, channels};
  }
  OwnedTensor mask;
  if (random.Chance(2)) {
    mask = random.Tensor(SAGE_BOOL, {batch, sequence});
    mask.FillIntegers(random.Seed(), 0, 1);
  }
  OpCase c =
      Pool(attributes, random.Tensor(dtype, {batch, sequence, channels}), mask, random.Tensor(dtype, y_shape, true));
  c.scale = 10;
  return c;
}

inline OpCase AnyPermute(Random& random, sage_dtype dtype) {
  const Shape shape = random.AnyShape(0, 5, 6);
  sage_permute_attributes attributes{};
  std::vector<int32_t> axes(shape.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int32_t>(i);
  std::mt19937_64 engine(random.Seed());
  std::shuffle(axes.begin(), axes.end(), engine);
  Shape y_shape;
  for (size_t i = 0; i < axes.size(); ++i) {
    attributes.axes[i] = axes[i];
    y_shape.push_back(shape[static_cast<size_t>(axes[i])]);
  }
  OpCase c{SAGE_OP_PERMUTE, [=](TestOp& op) { op.Attributes(attributes); }, {}};
  c.slots = {Bytes(random, dtype, shape), random.Tensor(dtype, y_shape, true)};
  return c;
}

// [rows,3,columns] to [columns,3,rows].
inline OpCase Transpose(sage_dtype dtype, int64_t rows, int64_t columns) {
  sage_permute_attributes attributes{};
  attributes.axes[0] = 2, attributes.axes[1] = 1, attributes.axes[2] = 0;
  OpCase c{SAGE_OP_PERMUTE, [=](TestOp& op) { op.Attributes(attributes); }, {}};
  c.slots = {OwnedTensor(dtype, {rows, 3, columns}).FillIntegers(1, -100, 100), OwnedTensor(dtype, {columns, 3, rows})};
  return c;
}

inline OpCase AnySlice(Random& random, sage_dtype dtype) {
  Shape shape = random.AnyShape(0, 4, 9);
  for (int64_t& length : shape) length = std::max<int64_t>(1, length);
  sage_slice_attributes attributes{};
  Shape y_shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t begin = random.Between(0, shape[i] - 1), step = random.Chance(3) ? 0 : random.Between(-3, 3);
    const int64_t effective = step == 0 ? 1 : step;
    const int64_t most = effective > 0 ? (shape[i] - 1 - begin) / effective + 1 : begin / -effective + 1;
    attributes.begin[i] = begin, attributes.step[i] = step;
    y_shape.push_back(random.Between(random.Chance(8) ? 0 : 1, most));
  }
  OpCase c{SAGE_OP_SLICE, [=](TestOp& op) { op.Attributes(attributes); }, {}};
  c.slots = {Bytes(random, dtype, shape), random.Tensor(dtype, y_shape, true)};
  return c;
}

inline OpCase AnyConcat(Random& random, sage_dtype dtype, int64_t most_parts = 5) {
  Shape shape = random.AnyShape(1, 4, 6);
  const auto axis = static_cast<size_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  OpCase c{SAGE_OP_CONCAT,
           [=](TestOp& op) {
             op.Attributes(sage_concat_attributes{0, static_cast<int32_t>(axis)});
           },
           {}};
  c.slots.emplace_back();
  int64_t total = 0;
  for (int64_t part = random.Between(1, most_parts); part > 0; --part) {
    shape[axis] = random.Between(0, 6);
    total += shape[axis];
    c.slots.push_back(Bytes(random, dtype, shape));
  }
  shape[axis] = total;
  c.slots[0] = random.Tensor(dtype, shape, true);
  return c;
}

inline OpCase AnyGather(Random& random, sage_dtype dtype) {
  Shape shape = random.AnyShape(1, 4, 6);
  const auto axis = static_cast<size_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  shape[axis] = random.Between(1, 9);
  const Shape index_shape = random.AnyShape(0, 2, 5);
  Shape y_shape(shape.begin(), shape.begin() + static_cast<int64_t>(axis));
  y_shape.insert(y_shape.end(), index_shape.begin(), index_shape.end());
  y_shape.insert(y_shape.end(), shape.begin() + static_cast<int64_t>(axis) + 1, shape.end());
  OwnedTensor indices = random.Tensor(random.Chance(2) ? SAGE_I32 : SAGE_I64, index_shape);
  indices.FillIntegers(random.Seed(), 0, shape[axis] - 1);
  return Gather(static_cast<int32_t>(axis), Bytes(random, dtype, shape), indices, random.Tensor(dtype, y_shape, true));
}

inline OpCase AnyTopk(Random& random) {
  Shape shape = random.AnyShape(1, 3, 8);
  const auto axis = static_cast<size_t>(random.Between(0, static_cast<int64_t>(shape.size()) - 1));
  shape[axis] = random.Chance(3) ? random.Between(200, 700) : random.Between(0, 40);
  const sage_dtype dtype = random.Float();
  OwnedTensor x = random.Tensor(dtype, shape);
  if (random.Chance(2)) x.FillIntegers(random.Seed(), -4, 4);
  if (random.Chance(6) && x.size() > 0) x.Put(0, HUGE_VAL);
  shape[axis] = random.Between(0, std::min<int64_t>(shape[axis], random.Chance(2) ? 8 : 700));
  return Topk(static_cast<int32_t>(axis), random.Chance(2), x, random.Tensor(dtype, shape, true),
              random.Tensor(random.Chance(2) ? SAGE_I32 : SAGE_I64, shape, true));
}

// Without slots where the draw has no meaning.
inline OpCase AnyRope(Random& random) {
  const int64_t batch = random.Between(1, 3), heads = random.Between(1, 4), sequence = random.Between(0, 6);
  const int64_t dim = random.Chance(4) ? random.Between(1, 150) : random.Between(1, 20);
  const int64_t rotary = random.Chance(2) ? random.Between(0, dim / 2) * 2 : dim / 2 * 2;
  const bool packed = random.Chance(3), tables = random.Chance(2);
  if (rotary == 0 && dim % 2 != 0) return {};  // 0 means all of D, which must be even
  const int64_t effective = rotary == 0 ? dim : rotary;
  const sage_dtype dtype = random.Float();
  const Shape shape = packed ? Shape{sequence, heads, dim} : Shape{batch, heads, sequence, dim};
  OwnedTensor positions = random.Tensor(SAGE_I32, packed ? Shape{sequence} : Shape{batch, sequence});
  positions.FillIntegers(random.Seed(), 0, tables ? 29 : 5000);
  const OwnedTensor cosine = tables ? random.Tensor(SAGE_F32, {30, effective / 2}) : OwnedTensor();
  const OwnedTensor sine = tables ? random.Tensor(SAGE_F32, {30, effective / 2}) : OwnedTensor();
  OpCase c = Rope(random.Chance(2) ? SAGE_ROPE_HALVES : SAGE_ROPE_INTERLEAVED, static_cast<uint32_t>(rotary),
                  tables ? 0.0 : (random.Chance(2) ? 0.0 : 500000.0),
                  {random.Tensor(dtype, shape), positions, cosine, sine, random.Tensor(dtype, shape, true)});
  c.scale = 4;
  return c;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_OP_CASES_H_
