// fake_interpreter.h: what a graph of the fake cuDNN computes, on the CPU, in double. Values are rounded to a tensor's
// type when the tensor is written. It reads and writes the bytes that dimensions, strides and offsets say and no
// others, so that AddressSanitizer sees an operand that is too small.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_INTERPRETER_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_INTERPRETER_H_

#include <map>

#include "fake_graph.h"

namespace sage::cudnn::fake {

struct Interpretation {
  const Graph& graph;                     // checked
  const std::map<int64_t, void*>& bound;  // every tensor that is not virtual, by uid
  bool reads_page_tails = false;
};

// kOutOfBound with a sentence where lengths, offsets or page numbers point outside of what was declared; outputs are
// then as they were, or partly written. Free-threaded over different memory.
Answer Interpret(const Interpretation& what);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_INTERPRETER_H_
