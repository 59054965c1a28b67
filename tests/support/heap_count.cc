// heap_count.cc: operator new, counted. Not for products: a test links it to prove that a run allocates nothing.
#include "support/heap_count.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> allocations{0};

void* Take(std::size_t bytes, std::size_t align) noexcept {
  ++allocations;
  void* pointer = nullptr;
  const int failed = posix_memalign(&pointer, align < sizeof(void*) ? sizeof(void*) : align, bytes == 0 ? 1 : bytes);
  return failed == 0 ? pointer : nullptr;
}
void* TakeOrThrow(std::size_t bytes, std::size_t align) {
  void* pointer = Take(bytes, align);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

using std::align_val_t, std::nothrow_t, std::size_t;
constexpr size_t kPlain = 16;
size_t Of(align_val_t align) { return static_cast<size_t>(align); }

}  // namespace

// All of them: a form left to the library would be freed by ours, which a sanitizer's runtime refuses. std::stable_sort
// takes its buffer by a nothrow one.
void* operator new(size_t bytes) { return TakeOrThrow(bytes, kPlain); }
void* operator new[](size_t bytes) { return TakeOrThrow(bytes, kPlain); }
void* operator new(size_t bytes, align_val_t align) { return TakeOrThrow(bytes, Of(align)); }
void* operator new[](size_t bytes, align_val_t align) { return TakeOrThrow(bytes, Of(align)); }
void* operator new(size_t bytes, const nothrow_t&) noexcept { return Take(bytes, kPlain); }
void* operator new[](size_t bytes, const nothrow_t&) noexcept { return Take(bytes, kPlain); }
void* operator new(size_t bytes, align_val_t align, const nothrow_t&) noexcept { return Take(bytes, Of(align)); }
void* operator new[](size_t bytes, align_val_t align, const nothrow_t&) noexcept { return Take(bytes, Of(align)); }

void operator delete(void* pointer) noexcept { std::free(pointer); }
void operator delete[](void* pointer) noexcept { std::free(pointer); }
void operator delete(void* pointer, size_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, size_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, align_val_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, size_t, align_val_t) noexcept { std::free(pointer); }
void operator delete[](void* pointer, size_t, align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, const nothrow_t&) noexcept { std::free(pointer); }
void operator delete[](void* pointer, const nothrow_t&) noexcept { std::free(pointer); }
void operator delete(void* pointer, align_val_t, const nothrow_t&) noexcept { std::free(pointer); }
void operator delete[](void* pointer, align_val_t, const nothrow_t&) noexcept { std::free(pointer); }

namespace sage::test {

uint64_t HeapAllocations() { return allocations; }

}  // namespace sage::test
