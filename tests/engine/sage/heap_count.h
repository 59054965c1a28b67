// heap_count.h: how often this test program called operator new: the proof behind "allocates nothing after warm-up".
#ifndef SAGE_TESTS_ENGINE_SAGE_HEAP_COUNT_H_
#define SAGE_TESTS_ENGINE_SAGE_HEAP_COUNT_H_

#include <cstdint>

namespace sage::testing {

uint64_t HeapCount();  // calls of any operator new since the start, over all threads

}  // namespace sage::testing

#endif  // SAGE_TESTS_ENGINE_SAGE_HEAP_COUNT_H_
