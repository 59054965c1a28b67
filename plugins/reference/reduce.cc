// reduce.cc: REDUCE, SOFTMAX, NORM, TOPK and POOL: a line of numbers in, a statistic of it used.
#include "kernel.h"

namespace sage::reference {
namespace {

// The lines along one axis: item = the place among all other axes. Returns the offsets of element 0 in x and y.
struct Line {
  int64_t x_offset, y_offset;
};
Line LineAt(const sage_tensor& x, const sage_tensor& y, uint32_t axis, int64_t item) {
  int64_t shape[SAGE_MAX_RANK], index[SAGE_MAX_RANK];
  for (uint32_t i = 0; i < x.rank; ++i) shape[i] = i == axis ? 1 : x.shape[i];
  Unravel(item, shape, x.rank, index);
  return {OffsetOf(x, index), OffsetOf(y, index)};
}
int64_t LineCount(const sage_tensor& x, uint32_t axis) {
  int64_t count = 1;
  for (uint32_t i = 0; i < x.rank; ++i) count *= i == axis ? 1 : x.shape[i];
  return count;
}

// Statistics over numbers met one by one. A NaN wins over any maximum or minimum.
struct Statistics {
  double sum = 0, least = std::numeric_limits<double>::infinity(), most = -least;
  double first = 0, last = 0;
  int64_t count = 0;

  void Add(double value) {
    if (count++ == 0) first = value;
    last = value;
    sum += value;
    if (value < least || std::isnan(value)) least = value;
    if (value > most || std::isnan(value)) most = value;
  }
};

}  // namespace

// Of nothing: the sum is 0, the mean NaN, the maximum -inf, the minimum +inf.
sage_status RunReduce(const Job& job) {
  const sage_tensor &x = job.Slot(0), &y = job.Slot(1);
  const sage_reduce_attributes& attributes = job.planned.attributes.reduce;
  int64_t outer[SAGE_MAX_RANK], inner[SAGE_MAX_RANK], y_stride[SAGE_MAX_RANK], outer_count = 1, inner_count = 1;
  for (uint32_t axis = 0, y_axis = 0; axis < x.rank; ++axis) {
    const bool reduced = (attributes.axes >> axis & 1) != 0;
    outer[axis] = reduced ? 1 : x.shape[axis];
    inner[axis] = reduced ? x.shape[axis] : 1;
    outer_count *= outer[axis];
    inner_count *= inner[axis];
    y_stride[axis] = reduced ? 0 : y.stride[y_axis];
    if (!reduced || y.rank == x.rank) ++y_axis;
  }
  return ForEach(job, outer_count, 20.0 * static_cast<double>(inner_count), [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(item, outer, x.rank, index);
    const int64_t begin = OffsetOf(x, index);
    int64_t y_offset = 0;
    for (uint32_t axis = 0; axis < x.rank; ++axis) y_offset += index[axis] * y_stride[axis];
    Statistics statistics;
    for (int64_t i = 0; i < inner_count; ++i) {
      Unravel(i, inner, x.rank, index);
      statistics.Add(ReadAt(x, begin + OffsetOf(x, index)));
    }
    double result = statistics.sum;
    if (attributes.function == SAGE_REDUCE_MEAN) result = statistics.sum / static_cast<double>(inner_count);
    if (attributes.function == SAGE_REDUCE_MAX) result = statistics.most;
    if (attributes.function == SAGE_REDUCE_MIN) result = statistics.least;
    WriteAt(y, y_offset, result);
  });
}

sage_status RunSoftmax(const Job& job) {
  const sage_tensor &x = job.Slot(0), &y = job.Slot(1);
  const uint32_t axis = static_cast<uint32_t>(job.planned.attributes.softmax.axis);
  const int64_t length = x.shape[axis];
  return ForEach(job, length == 0 ? 0 : LineCount(x, axis), 60.0 * static_cast<double>(length),
                 [&](int64_t item, uint32_t) {
                   const Line line = LineAt(x, y, axis, item);
                   const auto value = [&](int64_t i) { return ReadAt(x, line.x_offset + i * x.stride[axis]); };
                   double largest = value(0), sum = 0;
                   for (int64_t i = 1; i < length; ++i) {
                     const double next = value(i);
                     if (next > largest || std::isnan(next)) largest = next;
                   }
                   const bool nothing = std::isinf(largest) && largest < 0;
                   for (int64_t i = 0; i < length && !nothing; ++i) sum += std::exp(value(i) - largest);
                   for (int64_t i = 0; i < length; ++i)
                     WriteAt(y, line.y_offset + i * y.stride[axis], nothing ? 0.0 : std::exp(value(i) - largest) / sum);
                 });
}

sage_status RunNorm(const Job& job) {
  constexpr uint32_t kX = 0, kGamma = 1, kBeta = 2, kMean = 3, kVar = 4, kY = 5;
  const sage_tensor &x = job.Slot(kX), &y = job.Slot(kY);
  const sage_norm_attributes& attributes = job.planned.attributes.norm;
  const uint32_t axis = static_cast<uint32_t>(attributes.axis);
  // GAMMA and BETA at an index of X: they have X's axes from `axis` on, or only that one.
  const auto parameter = [&](uint32_t slot, const int64_t* index, double absent) {
    if (!job.Has(slot)) return absent;
    const sage_tensor& tensor = job.Slot(slot);
    return ReadAt(tensor, OffsetOf(tensor, index + axis));
  };
  const auto normalise = [&](const int64_t* index, double mean, double variance) {
    const double scaled = (ReadAt(x, OffsetOf(x, index)) - mean) / std::sqrt(variance + attributes.epsilon);
    WriteAt(y, OffsetOf(y, index), scaled * parameter(kGamma, index, 1.0) + parameter(kBeta, index, 0.0));
  };

  if (attributes.mode == SAGE_NORM_BATCH) {
    return ForEach(job, ElementCount(x), 40, [&](int64_t item, uint32_t) {
      int64_t index[SAGE_MAX_RANK];
      Unravel(item, x.shape, x.rank, index);
      normalise(index, parameter(kMean, index, 0.0), parameter(kVar, index, 1.0));
    });
  }
  int64_t rows = 1, length = 1;
  for (uint32_t i = 0; i < x.rank; ++i) (i < axis ? rows : length) *= x.shape[i];
  return ForEach(job, rows, 60.0 * static_cast<double>(length), [&](int64_t row, uint32_t) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(row, x.shape, axis, index);
    const auto at = [&](int64_t i) { Unravel(i, x.shape + axis, x.rank - axis, index + axis); };
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < length && attributes.mode == SAGE_NORM_LAYER; ++i) {
      at(i);
      mean += ReadAt(x, OffsetOf(x, index)) / static_cast<double>(length);
    }
    for (int64_t i = 0; i < length; ++i) {  // around 0 for RMS
      at(i);
      const double distance = ReadAt(x, OffsetOf(x, index)) - mean;
      variance += distance * distance / static_cast<double>(length);
    }
    for (int64_t i = 0; i < length; ++i) {
      at(i);
      normalise(index, mean, variance);
    }
  });
}

sage_status RunTopk(const Job& job) {
  const sage_tensor &x = job.Slot(0), &values = job.Slot(1), &indices = job.Slot(2);
  const sage_topk_attributes& attributes = job.planned.attributes.topk;
  const uint32_t axis = static_cast<uint32_t>(attributes.axis);
  const int64_t length = x.shape[axis], k = values.shape[axis];
  std::atomic<bool> met_nan{false};
  const sage_status status =
      ForEach(job, LineCount(x, axis), 10.0 * static_cast<double>(length * (k + 1)), [&](int64_t item, uint32_t) {
        const Line line = LineAt(x, values, axis, item);
        const int64_t i_offset = LineAt(x, indices, axis, item).y_offset;
        const auto value = [&](int64_t i) { return ReadAt(x, line.x_offset + i * x.stride[axis]); };
        for (int64_t i = 0; i < length; ++i)
          if (std::isnan(value(i))) return met_nan.store(true);
        // In the order (better value, lower index), each place takes the first candidate after the one before it.
        const auto before = [&](int64_t i, int64_t j) {
          const double a = value(i), b = value(j);
          if (a != b) return attributes.smallest != 0 ? a < b : a > b;
          return i < j;
        };
        int64_t previous = -1;
        for (int64_t place = 0; place < k; ++place) {
          int64_t best = -1;
          for (int64_t i = 0; i < length; ++i) {
            const bool still_free = previous < 0 || before(previous, i);
            if (still_free && (best < 0 || before(i, best))) best = i;
          }
          WriteAt(values, line.y_offset + place * values.stride[axis], value(best));
          WriteAt(indices, i_offset + place * indices.stride[axis], static_cast<double>(best));
          previous = best;
        }
      });
  if (status == SAGE_OK && met_nan)
    return sage_fail(job.err, SAGE_E_INVALID_ARGUMENT, "TOPK: X holds a NaN, which has no place in an order");
  return status;
}

sage_status RunPool(const Job& job) {
  constexpr uint32_t kX = 0, kMask = 1, kY = 2;
  const sage_tensor &x = job.Slot(kX), &y = job.Slot(kY);
  const sage_pool_attributes& attributes = job.planned.attributes.pool;
  const int64_t sequence = x.shape[1];
  const bool windowed = attributes.window != 0;
  const int64_t window = windowed ? static_cast<int64_t>(attributes.window) : sequence;
  const int64_t step = attributes.stride == 0 ? window : static_cast<int64_t>(attributes.stride);
  return ForEach(job, ElementCount(y), 20.0 * static_cast<double>(window), [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(item, y.shape, y.rank, index);
    const int64_t batch = index[0], channel = index[y.rank - 1];
    const int64_t begin = windowed ? index[1] * step - static_cast<int64_t>(attributes.pad_begin) : 0;
    Statistics statistics;
    for (int64_t s = begin < 0 ? 0 : begin; s < begin + window && s < sequence; ++s) {
      if (job.Has(kMask)) {
        const sage_tensor& mask = job.Slot(kMask);
        if (ReadAt(mask, batch * mask.stride[0] + s * mask.stride[1]) == 0) continue;
      }
      statistics.Add(ReadAt(x, batch * x.stride[0] + s * x.stride[1] + channel * x.stride[2]));
    }
    double result = 0;
    if (statistics.count > 0) {
      switch (attributes.function) {
        case SAGE_POOL_MEAN:
          result = statistics.sum / static_cast<double>(statistics.count);
          break;
        case SAGE_POOL_MAX:
          result = statistics.most;
          break;
        case SAGE_POOL_FIRST:
          result = statistics.first;
          break;
        default:
          result = statistics.last;
          break;
      }
    }
    WriteAt(y, OffsetOf(y, index), result);
  });
}

}  // namespace sage::reference
