// fake_values.h: a tensor's elements as doubles, and how they come from and go to memory.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_VALUES_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_VALUES_H_

#include <cstdint>
#include <vector>

#include "fake_graph.h"

namespace sage::cudnn::fake {

// Row-major.
struct Values {
  std::vector<int64_t> dims;
  std::vector<double> data;

  Values() = default;
  explicit Values(std::vector<int64_t> shape, double value = 0);
};

// Which part of a tensor is in memory, and what lies past it. Without rows the whole tensor is.
struct Part {
  int axis = -1;                                 // along which rows are counted
  const std::vector<int64_t>* rows = nullptr;    // of each batch
  const std::vector<int64_t>* starts = nullptr;  // of a ragged tensor: element at which each batch begins
};

double ReadElement(int type, const void* at);
void WriteElement(int type, void* at, double value);  // of 8 bits: as hardware does, up to the largest number
// Every value as its type has it.
void RoundTo(int type, std::vector<double>* values);

// Rows past the part are not read, and 0.
Values Load(const Tensor& tensor, const void* memory, const Part& part);
// Rows past the part are NaN, or, of a ragged tensor, not written. Values are rounded already.
void Store(const Tensor& tensor, void* memory, const Part& part, const Values& values);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_VALUES_H_
