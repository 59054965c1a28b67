// attention_hopper_shapes.h: the shapes that the Hopper kernel is compiled for, and which of them a variant is. Each
// takes nvcc some five seconds.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPES_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPES_H_

#include "attention_hopper_choice.h"
#include "attention_hopper_shape.h"

namespace sage::cuda::hopper {

// The shape as a value to be passed, without its memory.
template <class S>
struct Chosen {
  using Shape = S;
};

// call(Chosen<Shape>) for the one that is meant.
template <class T, class Call>
auto WithShapeOf(const HopperVariant& v, const Call& call) {
  if (v.dim == 64) return v.rows == 192 ? call(Chosen<Shape<T, 64, 128, 3>>()) : call(Chosen<Shape<T, 64, 128>>());
  if (v.dim == 128) return v.keys == 176 ? call(Chosen<Shape<T, 128, 176>>()) : call(Chosen<Shape<T, 128, 128>>());
  return call(Chosen<Shape<T, 256, 64>>());
}

template <class Call>
auto WithShape(AttentionType type, const HopperVariant& v, const Call& call) {
  return type == AttentionType::kBf16 ? WithShapeOf<Bf16>(v, call) : WithShapeOf<F16>(v, call);
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPES_H_
