// gpu_testing.h: the plugin as built on the device at hand, for the files of test_cuda_gpu.
#ifndef SAGE_TESTS_PLUGINS_CUDA_GPU_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_GPU_TESTING_H_

#include <doctest/doctest.h>

#include <string>

#include "support/error_slot.h"
#include "support/run_op.h"

namespace sage::test {

// The plugin's table; set by main before any test.
const sage_plugin*& Table();

// An instance with its device and one stream.
struct Gpu {
  explicit Gpu(const char* options = nullptr) : host(1, Threads::kSimulated), instance(Table(), host, options) {
    REQUIRE_MESSAGE(instance.status() == SAGE_OK, instance.message());
    REQUIRE(Table()->device(instance.handle(), &device, nullptr) == SAGE_OK);
    REQUIRE(device->stream_create(device->self, &stream, nullptr) == SAGE_OK);
  }
  ~Gpu() { device->stream_destroy(device->self, stream); }
  void* Alloc(uint64_t bytes) {
    void* memory = nullptr;
    Error error;
    const sage_status status = device->alloc(device->self, bytes, 256, &memory, &error);
    REQUIRE_MESSAGE(status == SAGE_OK, error.message);
    return memory;
  }
  void Copy(void* to, const void* from, uint64_t bytes) {
    Error error;
    const sage_status status = device->copy(device->self, to, from, bytes, stream, &error);
    REQUIRE_MESSAGE(status == SAGE_OK, error.message);
  }
  std::string Wait() {
    Error error;
    return device->stream_synchronize(device->self, stream, &error) == SAGE_OK ? "" : error.message;
  }
  TestHost host;
  Instance instance;
  const sage_device_table* device = nullptr;
  void* stream = nullptr;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_GPU_TESTING_H_
