// tensor_copy.cc: see the header.
#include "run/tensor_copy.h"

#include <cstring>
#include <numeric>

#include "sage/support/check_op.h"

namespace sage {
namespace {

int64_t Elements(const sage_tensor& tensor) {
  int64_t count = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

// Length of the runs of neighbouring elements a tensor consists of, and the first axis inside a run.
int64_t RunLength(const sage_tensor& tensor, uint32_t* first_inner) {
  int64_t run = 1;
  uint32_t axis = tensor.rank;
  while (axis > 0 && (tensor.shape[axis - 1] == 1 || tensor.stride[axis - 1] == run)) run *= tensor.shape[--axis];
  *first_inner = axis;
  return run;
}

// Walks a tensor in row-major order, `chunk` neighbouring elements at a time. chunk divides the run length.
class Walk {
 public:
  Walk(const sage_tensor& tensor, uint32_t first_inner, int64_t run, int64_t chunk)
      : tensor_(tensor), axes_(first_inner), per_run_(run / chunk), chunk_(chunk) {}
  int64_t offset() const { return offset_ + in_run_ * chunk_; }
  void Next() {
    if (++in_run_ < per_run_) return;
    in_run_ = 0;
    for (uint32_t axis = axes_; axis-- > 0;) {
      offset_ += tensor_.stride[axis];
      if (++index_[axis] < tensor_.shape[axis]) return;
      offset_ -= tensor_.stride[axis] * tensor_.shape[axis];
      index_[axis] = 0;
    }
  }

 private:
  const sage_tensor& tensor_;
  uint32_t axes_;
  int64_t per_run_, chunk_, in_run_ = 0, offset_ = 0;
  int64_t index_[SAGE_MAX_RANK] = {};
};

// Calls move(to, from, bytes) for each run that lies together on both sides, until it says no; returns the bytes moved.
template <class Move>
uint64_t MoveRuns(const sage_tensor& from, const sage_tensor& to, Move move) {
  const int64_t count = Elements(from);
  if (count == 0) return 0;
  const int64_t size = support::DtypeSize(from.dtype);
  uint32_t from_inner = 0, to_inner = 0;
  const int64_t from_run = RunLength(from, &from_inner), to_run = RunLength(to, &to_inner);
  const int64_t chunk = std::gcd(from_run, to_run);
  Walk source(from, from_inner, from_run, chunk), target(to, to_inner, to_run, chunk);
  const auto* in = static_cast<const unsigned char*>(from.data);
  auto* out = static_cast<unsigned char*>(to.data);
  const auto bytes = static_cast<uint64_t>(chunk * size);
  uint64_t moved = 0;
  for (int64_t done = 0; done < count; done += chunk, source.Next(), target.Next()) {
    if (!move(out + target.offset() * size, in + source.offset() * size, bytes)) break;
    moved += bytes;
  }
  return moved;
}

}  // namespace

uint64_t CopyTensor(const sage_tensor& from, const sage_tensor& to) {
  return MoveRuns(from, to, [](void* out, const void* in, uint64_t bytes) {
    std::memcpy(out, in, bytes);
    return true;
  });
}

uint64_t CopyTensorBy(const sage_tensor& from, const sage_tensor& to, MoveBytesFn move, void* ctx) {
  return MoveRuns(from, to, [&](void* out, const void* in, uint64_t bytes) { return move(ctx, out, in, bytes); });
}

uint64_t RunsOf(const sage_tensor& from, const sage_tensor& to) {
  const int64_t count = Elements(from);
  if (count == 0) return 0;
  uint32_t inner = 0;
  const int64_t from_run = RunLength(from, &inner);
  return static_cast<uint64_t>(count / std::gcd(from_run, RunLength(to, &inner)));
}

bool IsContiguous(const sage_tensor& tensor) {
  int64_t step = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) return true;
  }
  for (uint32_t i = tensor.rank; i-- > 0;) {
    if (tensor.shape[i] == 1) continue;
    if (tensor.stride[i] != step) return false;
    step *= tensor.shape[i];
  }
  return true;
}

bool StridesServe(const sage_tensor& tensor, const int64_t* stride) {
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] == 0) return true;
  }
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] > 1 && tensor.stride[i] != stride[i]) return false;
  }
  return true;
}

bool ReshapeStrides(const sage_tensor& x, const uint64_t* x_symbols, const uint64_t* y_symbols, uint64_t fixed,
                    sage_tensor* y, int32_t* pairs) {
  bool empty = false;
  for (uint32_t j = 0; j < y->rank; ++j) pairs[j] = -1, empty |= y->shape[j] == 0;
  if (empty) {  // no element is ever read; any strides do
    for (uint32_t j = 0; j < y->rank; ++j) y->stride[j] = 1;
    return true;
  }
  // Axes that are 1 for ever carry nothing.
  const auto skip = [](const sage_tensor& t, const uint64_t* symbols, uint32_t axis) {
    return t.shape[axis] == 1 && symbols[axis] == 0;
  };
  uint32_t i = 0, j = 0;
  while (true) {
    while (i < x.rank && skip(x, x_symbols, i)) ++i;
    while (j < y->rank && skip(*y, y_symbols, j)) y->stride[j++] = 1;
    if (i == x.rank && j == y->rank) return true;
    if (i == x.rank || j == y->rank) return false;

    if (x.shape[i] == y->shape[j] && x_symbols[i] == y_symbols[j]) {
      pairs[j] = static_cast<int32_t>(i);
      y->stride[j++] = x.stride[i++];
      continue;
    }
    // A group: the fewest axes of both with the same number of elements. They must be contiguous in x, and fixed.
    const uint32_t first_i = i, first_j = j;
    int64_t in_x = x.shape[i], in_y = y->shape[j];
    uint64_t symbols = x_symbols[i++] | y_symbols[j++];
    while (in_x != in_y) {
      if (in_x < in_y) {
        if (i == x.rank) return false;
        symbols |= x_symbols[i], in_x *= x.shape[i++];
      } else {
        if (j == y->rank) return false;
        symbols |= y_symbols[j], in_y *= y->shape[j++];
      }
    }
    if ((symbols & ~fixed) != 0) return false;
    int64_t step = 0;  // of the group's innermost axis that has one
    int64_t expected = 0;
    for (uint32_t a = i; a-- > first_i;) {
      if (x.shape[a] == 1) continue;
      if (step == 0) {
        step = expected = x.stride[a];
        if (step == 0) return false;  // a repeated element: y would need to repeat as well
      } else if (x.stride[a] != expected) {
        return false;
      }
      expected *= x.shape[a];
    }
    if (step == 0) step = 1;
    for (uint32_t b = j; b-- > first_j; step *= y->shape[b]) y->stride[b] = step;
  }
}

}  // namespace sage
