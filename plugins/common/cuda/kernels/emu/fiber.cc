// fiber.cc: see fiber.h.
#include "common/cuda/kernels/emu/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <utility>

#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#ifdef __x86_64__
// What a called function must preserve, and the stack pointer; the return address is on the stack already.
asm(R"(
.text
.p2align 4
.globl sage_emu_switch
.hidden sage_emu_switch
.type sage_emu_switch, @function
sage_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sage_emu_switch, .-sage_emu_switch
)");
extern "C" void sage_emu_switch(void** save, void* load);
#endif

namespace sage::cuda::emu {
namespace {

#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
constexpr size_t kStackBytes = 512 << 10;
#else
constexpr size_t kStackBytes = 128 << 10;
#endif

}  // namespace

struct Fiber::State {
  std::function<void()> body;
  bool ended = true;
  char* mapping = nullptr;
  size_t mapped = 0, guard = 0;
#ifdef __x86_64__
  void *own = nullptr, *scheduler = nullptr;
#else
  ucontext_t own{}, scheduler{};
#endif
#ifdef __SANITIZE_ADDRESS__
  // A fiber's fake stack is made at its first entry and destroyed when it ends.
  void *own_fake = nullptr, *scheduler_fake = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_size = 0;
#endif
#ifdef __SANITIZE_THREAD__
  void *own_tsan = nullptr, *scheduler_tsan = nullptr;
#endif

  char* stack() const { return mapping + guard; }

  void Leave() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ended ? nullptr : &own_fake, scheduler_stack, scheduler_size);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(scheduler_tsan, 0);
#endif
#ifdef __x86_64__
    sage_emu_switch(&own, scheduler);
#else
    swapcontext(&own, &scheduler);
#endif
    Entered();
  }

  void Entered() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(own_fake, &scheduler_stack, &scheduler_size);
#endif
  }

  // The state arrives through the thread that enters: makecontext passes no pointer portably.
  static State*& Entering() {
    thread_local State* entering = nullptr;
    return entering;
  }
  static void Enter() {
    State* state = Entering();
    state->Entered();
    state->body();
    state->ended = true;
    state->Leave();
    __builtin_trap();  // an ended fiber is not resumed
  }
};

Fiber::Fiber() : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  s.mapped = kStackBytes + s.guard;
  void* mapping = mmap(nullptr, s.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  s.mapping = static_cast<char*>(mapping);
  mprotect(s.mapping, s.guard, PROT_NONE);  // an overflow is a fault, not another mapping's end
}

void Fiber::Start(std::function<void()> body) {
  State& s = *state_;
  s.body = std::move(body);
  s.ended = false;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(s.stack(), kStackBytes);  // what the body before left there
  s.own_fake = nullptr;
#endif
#ifdef __SANITIZE_THREAD__
  if (s.own_tsan != nullptr) __tsan_destroy_fiber(s.own_tsan);
  s.own_tsan = __tsan_create_fiber(0);
#endif
#ifdef __x86_64__
  // As if sage_emu_switch had been called at Enter's first instruction: six registers, a return address, and then the
  // stack pointer 8 past a multiple of 16, as after a call. The zero there ends a backtrace.
  auto* top = reinterpret_cast<uint64_t*>(s.stack() + kStackBytes);
  top[-3] = 0;
  top[-4] = reinterpret_cast<uint64_t>(&State::Enter);
  for (int saved = 5; saved <= 10; ++saved) top[-saved] = 0;
  s.own = top - 10;
#else
  s.own = {};
  getcontext(&s.own);
  s.own.uc_stack.ss_sp = s.stack();
  s.own.uc_stack.ss_size = kStackBytes;
  s.own.uc_link = nullptr;
  makecontext(&s.own, &State::Enter, 0);
#endif
}

Fiber::~Fiber() {
#ifdef __SANITIZE_THREAD__
  if (state_->own_tsan != nullptr) __tsan_destroy_fiber(state_->own_tsan);
#endif
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(state_->stack(), kStackBytes);
#endif
  munmap(state_->mapping, state_->mapped);
}

void Fiber::Resume() {
  State& s = *state_;
  State::Entering() = &s;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&s.scheduler_fake, s.stack(), kStackBytes);
#endif
#ifdef __SANITIZE_THREAD__
  s.scheduler_tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(s.own_tsan, 0);
#endif
#ifdef __x86_64__
  sage_emu_switch(&s.scheduler, s.own);
#else
  swapcontext(&s.scheduler, &s.own);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(s.scheduler_fake, nullptr, nullptr);
#endif
}

void Fiber::Suspend() { state_->Leave(); }

bool Fiber::ended() const { return state_->ended; }

}  // namespace sage::cuda::emu
