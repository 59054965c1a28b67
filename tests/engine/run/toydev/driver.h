// driver.h: a device made of pages the CPU may not touch, whose streams do nothing until somebody waits for them.
//
// What a real device forgives now and then, this one never does: a pointer into its memory that the host follows is a
// fault of the processor, a result read before the wait is the pattern the memory was given at first, CPU memory reused
// while a copy is still to come is copied as it is then. Destroying what still has work or memory ends the program.
// Visible: the same without the locks, for devices that share memory with the CPU; still asynchronous. For tests only.
#ifndef SAGE_TESTS_ENGINE_RUN_TOYDEV_DRIVER_H_
#define SAGE_TESTS_ENGINE_RUN_TOYDEV_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "sage/plugin.h"

namespace toydev {

struct Stream;

struct Command {
  enum class Kind { kCopy, kNode, kWait } kind = Kind::kCopy;
  void* to = nullptr;
  const void* from = nullptr;
  uint64_t bytes = 0;
  Stream* other = nullptr;  // kWait: until it has executed so many
  uint64_t position = 0;
  // kNode: called with the tensors of the run, their descriptions copied.
  void (*node)(const Command& command) = nullptr;
  const sage_plan* plan = nullptr;
  sage_tensor tensors[4];
  unsigned char* workspace = nullptr;
};

struct Options {
  bool visible = false;
  double latency_ns = 100, bytes_per_ns = 10;
  uint64_t largest_alloc = UINT64_MAX;
  uint64_t failing_command = 0;  // the n-th node that is executed fails; 0 = none
  bool records = false;          // the table has capture and page-locked memory
  bool fail_capture = false;     // no capture ends well
};

class Driver {
 public:
  Driver(int32_t type, int32_t id, const Options& options);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  const sage_device_table* table() const { return &table_; }
  const Options& options() const { return options_; }

  sage_status Alloc(uint64_t bytes, uint64_t align, void** out, sage_error* err);
  void Free(void* memory);
  sage_status HostAlloc(uint64_t bytes, uint64_t align, void** out, sage_error* err);
  void HostFree(void* memory);
  // Its own memory, and page-locked memory it gave out.
  bool Reaches(const void* at);
  // The memory is open to the calling thread's program only in here.
  void Execute(Stream* stream, const Command& command);

 private:
  void Protect(int protection);
  void OfferRecording();
  sage_device_table table_{};
  const Options options_;
  std::mutex mutex_;
  std::map<unsigned char*, size_t> blocks_, locked_;
  uint64_t nodes_ = 0;

 public:
  uint64_t graphs = 0;  // alive; of one thread
};

// What a stream was given while it was recorded. A wait, or a copy from or to memory that is not page-locked, spoils
// it.
struct Graph {
  std::vector<Command> commands;
  bool spoilt = false;
};

struct Stream {
  static constexpr size_t kCapacity = 1024;  // set aside beforehand: enqueueing allocates nothing
  Driver* driver = nullptr;
  std::vector<Command> queue;
  uint64_t issued = 0, executed = 0;
  bool failed = false;
  Graph* capture = nullptr;

  explicit Stream(Driver* of) : driver(of), queue(kCapacity) {}
  sage_status Enqueue(const Command& command, sage_error* err);
  void ExecuteUntil(uint64_t position);
};

// A record is a place in a stream; recording again moves it, what waits already keeps the place it saw.
struct Event {
  Stream* stream = nullptr;
  uint64_t position = 0;
};

}  // namespace toydev

#endif  // SAGE_TESTS_ENGINE_RUN_TOYDEV_DRIVER_H_
