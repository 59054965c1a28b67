// heap_count.cc: operator new, counted. Not for products: a test links it to prove that a run allocates nothing.
#include "support/heap_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> allocations{0};

void* Take(std::size_t bytes, std::size_t align) {
  ++allocations;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, align < sizeof(void*) ? sizeof(void*) : align, bytes == 0 ? 1 : bytes) != 0)
    throw std::bad_alloc();
  return pointer;
}

}  // namespace

void* operator new(std::size_t bytes) { return Take(bytes, 16); }
void* operator new[](std::size_t bytes) { return Take(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t align) { return Take(bytes, static_cast<std::size_t>(align)); }
void* operator new[](std::size_t bytes, std::align_val_t align) { return Take(bytes, static_cast<std::size_t>(align)); }
// std::stable_sort takes its buffer this way.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t& tag) noexcept { return operator new(bytes, tag); }
void operator delete(void* pointer) noexcept { std::free(pointer); }
void operator delete[](void* pointer) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::align_val_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, std::align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t, std::align_val_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, std::size_t, std::align_val_t) noexcept { std::free(pointer); }

namespace sage::test {

uint64_t HeapAllocations() { return allocations; }

}  // namespace sage::test
