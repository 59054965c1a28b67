// fiber.h: a stack of its own for each emulated thread, entered and left by the scheduler alone.
//
// Switching is ten instructions on x86-64: an emulated mma.sync is 32 switches, and swapcontext would ask the kernel
// twice for each. Other processors use swapcontext. The sanitizers are told of every switch.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_FIBER_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_FIBER_H_

#include <cstddef>
#include <functional>
#include <memory>

namespace sage::cuda::emu {

class Fiber {
 public:
  Fiber();
  // A fiber that is destroyed before its body has ended is abandoned: nothing on its stack is destroyed.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // body must not throw. Only where there was none yet, or it has ended.
  void Start(std::function<void()> body);
  // Runs the fiber until it suspends or ends. From outside any fiber.
  void Resume();
  // Back to Resume's caller. From inside this fiber.
  void Suspend();
  bool ended() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sage::cuda::emu

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_FIBER_H_
