// test_heap_count.cc: the counter counts every form of operator new, or the tests that rest on it prove nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support/heap_count.h"

namespace {

using sage::test::HeapAllocations;

struct alignas(128) Wide {
  char bytes[128];
};

template <class Body>
uint64_t Taken(const Body& body) {
  const uint64_t before = HeapAllocations();
  body();
  return HeapAllocations() - before;
}

// The compiler may leave out an allocation that nobody sees.
template <class T>
T* Seen(T* pointer) {
  __asm__ volatile("" : : "g"(pointer) : "memory");
  CHECK(reinterpret_cast<uintptr_t>(pointer) % alignof(T) == 0);
  return pointer;
}

TEST_CASE_TEMPLATE("heap count: every form of new is counted once, and what it gives is aligned and can be freed", T,
                   int, Wide) {
  CHECK(Taken([] { delete Seen(new T); }) == 1);
  CHECK(Taken([] { delete[] Seen(new T[7]); }) == 1);
  CHECK(Taken([] { delete Seen(new (std::nothrow) T); }) == 1);
  CHECK(Taken([] { delete[] Seen(new (std::nothrow) T[7]); }) == 1);
  CHECK(Taken([] {}) == 0);
}

TEST_CASE("heap count: what the library takes inside is counted too") {
  CHECK(Taken([] {
          const auto numbers = std::make_unique<std::vector<int>>(100);
          Seen(numbers->data());
        }) == 2);
  CHECK(Taken([] {
          std::string text(100, 'x');
          Seen(text.data());
        }) == 1);
  std::vector<int> numbers(100);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int>(i * 37 % 100);
  CHECK(Taken([&] { std::stable_sort(numbers.begin(), numbers.end()); }) == 1);
}

}  // namespace
