// heap_count.cc: replaces the program's operator new and delete by counting ones.
#include "engine/sage/heap_count.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> count{0};

void* Take(std::size_t bytes, std::size_t align) {
  count.fetch_add(1, std::memory_order_relaxed);
  void* memory = nullptr;
  if (align <= alignof(std::max_align_t)) {
    memory = std::malloc(bytes == 0 ? 1 : bytes);
  } else {
    memory = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  }
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

uint64_t sage::testing::HeapCount() { return count.load(std::memory_order_relaxed); }

void* operator new(std::size_t bytes) { return Take(bytes, 0); }
void* operator new[](std::size_t bytes) { return Take(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t align) { return Take(bytes, static_cast<std::size_t>(align)); }
void* operator new[](std::size_t bytes, std::align_val_t align) { return Take(bytes, static_cast<std::size_t>(align)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
