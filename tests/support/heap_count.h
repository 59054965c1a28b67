// heap_count.h: how many times this program's C++ code has taken heap memory. Add heap_count.cc to the test's SOURCES:
// it replaces operator new for the whole program (dlopen'ed plugins that use it included).
#ifndef SAGE_TESTS_SUPPORT_HEAP_COUNT_H_
#define SAGE_TESTS_SUPPORT_HEAP_COUNT_H_

#include <cstdint>

namespace sage::test {

uint64_t HeapAllocations();  // since the start, over all threads

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_HEAP_COUNT_H_
