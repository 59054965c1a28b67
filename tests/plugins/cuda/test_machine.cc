// test_machine.cc: the emulated machine itself: what it promises a test, and that it says what is wrong with a kernel
// instead of hanging on it.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "common/cuda/kernels/primitives.h"

namespace sage::cuda {
namespace {

using emu::Launch;

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("emulation: every thread of every block runs once") {
  std::vector<int> seen(3 * 2 * 2 * 64);
  CHECK(Launch({.grid = {3, 2, 2}, .threads = 64, .resident_blocks = 5}, [&] {
          CHECK(prim::GridX() == 3);
          CHECK(prim::BlockThreads() == 64);
          ++seen[((prim::BlockZ() * 2 + prim::BlockY()) * 3 + prim::BlockX()) * 64 + prim::ThreadX()];
        }) == "");
  for (const int times : seen) CHECK(times == 1);
}

TEST_CASE("emulation: the order of threads is the seed's") {
  const auto order = [](uint64_t seed) {
    std::string text;
    CHECK(Launch({.threads = 64, .seed = seed}, [&] { text += std::to_string(prim::ThreadX()) + " "; }) == "");
    return text;
  };
  CHECK(order(1) == order(1));
  CHECK(order(1) != order(2));
}

TEST_CASE("emulation: shared memory begins as NaN and its end is its end") {
  CHECK(Launch({.threads = 32, .shared_bytes = 256}, [] {
          for (uint32_t i = 0; i < 256; ++i) CHECK(prim::Shared()[i] == 0xff);
        }) == "");
  CHECK(Says(Launch({.threads = 32, .shared_bytes = 256},
                    [] {
                      uint32_t r[4];
                      prim::LoadMatrix4(r, prim::SharedAddress(prim::Shared()) + 256);
                    }),
             "ldmatrix of 16 bytes at shared address 1280"));
  CHECK(Says(Launch({.threads = 32, .shared_bytes = 256},
                    [] {
                      uint32_t r[4];
                      prim::LoadMatrix4(r, 0);  // an offset, not an address
                    }),
             "at shared address 0"));
}

TEST_CASE("emulation: a missing barrier shows under some order") {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    CHECK(Launch({.threads = 128, .shared_bytes = 512, .seed = seed}, [&] {
            auto* words = reinterpret_cast<uint32_t*>(prim::Shared());
            const uint32_t thread = prim::ThreadX();
            words[thread] = thread;
            if (words[127 - thread] != 127 - thread) ++wrong;
          }) == "");
    CHECK(Launch({.threads = 128, .shared_bytes = 512, .seed = seed}, [&] {
            auto* words = reinterpret_cast<uint32_t*>(prim::Shared());
            const uint32_t thread = prim::ThreadX();
            words[thread] = thread;
            prim::SyncThreads();
            CHECK(words[127 - thread] == 127 - thread);
          }) == "");
  }
  CHECK(wrong > 0);
}

TEST_CASE("emulation: a deadlock is told with who waits for what") {
  const std::string text = Launch({.threads = 96}, [] {
    if (prim::ThreadX() < 32) return;
    if (prim::ThreadX() < 64)
      prim::NamedSync(3, 96);
    else
      prim::SyncThreads();
  });
  CHECK(Says(text, "deadlock"));
  CHECK(Says(text, "block (0,0,0): 32 threads, the first 0, have ended"));
  CHECK(Says(text, "32 threads, the first 32, wait for bar.sync 3"));
  CHECK(Says(text, "32 threads, the first 64, wait for __syncthreads, barrier 0"));
  CHECK(Says(Launch({.threads = 32},
                    [] {
                      while (true) emu::SelfMachine().Poll({"a flag"});
                    }),
             "wait for a flag"));
}

TEST_CASE("emulation: lanes in different operations and barriers of different counts are told") {
  CHECK(Says(Launch({.threads = 32},
                    [] {
                      if (prim::ThreadX() == 5)
                        prim::SyncWarp();
                      else
                        prim::Any(true);
                    }),
             "different operations"));
  CHECK(Says(Launch({.threads = 96}, [] { prim::NamedSync(1, prim::ThreadX() < 32 ? 64 : 96); }), "others expect"));
  CHECK(Says(Launch({.threads = 64},
                    [] {
                      prim::NamedArrive(2, 64);
                      if (prim::ThreadX() == 0) prim::NamedArrive(2, 64);
                    }),
             "is left with 1 of 64 threads"));
  CHECK(Says(Launch({.threads = 33}, [] {}), "expected a multiple of 32"));
}

TEST_CASE("emulation: named barriers let one side go on and the other wait") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    uint32_t produced = 0;
    CHECK(Launch({.threads = 64, .seed = seed}, [&] {
            if (prim::ThreadX() < 32) {
              ++produced;
              prim::NamedArrive(1, 64);
            } else {
              prim::NamedSync(1, 64);
              CHECK(produced == 32);
            }
          }) == "");
  }
}

TEST_CASE("emulation: blocks that wait for each other run interleaved") {
  uint32_t arrived = 0;
  const auto meet = [&] {
    prim::AtomicAdd(&arrived, 1);
    while (arrived < 4 * 32) emu::SelfMachine().Poll({"the other blocks"});
  };
  CHECK(Launch({.grid = {4, 1, 1}, .resident_blocks = 4}, meet) == "");
  arrived = 0;
  CHECK(Says(Launch({.grid = {4, 1, 1}, .resident_blocks = 3}, meet), "wait for the other blocks"));
}

TEST_CASE("emulation: what comes later comes before a deadlock is told") {
  bool landed = false;
  emu::WaitQueue queue;
  CHECK(Launch({.threads = 32}, [&] {
          if (prim::ThreadX() == 0)
            emu::SelfMachine().Later(1000000,
                                     [&, &machine = emu::SelfMachine()] { landed = true, machine.WakeAll(queue); });
          emu::SelfMachine().Wait(queue, {"a copy"});
          CHECK(landed);
        }) == "");
  CHECK(Says(Launch({.threads = 32},
                    [&] {
                      emu::SelfMachine().Later(10, [] { emu::Fail("a copy for nobody"); });
                      emu::SelfMachine().Wait(queue, {"nothing"});
                    }),
             "a copy for nobody"));
}

TEST_CASE("emulation: a grid before this one ends when it is waited for, and somebody has to wait") {
  int value = 0;
  std::vector<int> seen(64);
  emu::LaunchOptions options;
  options.threads = 64;
  options.earlier = [&] { value = 5; };
  CHECK(emu::Launch(options, [&] {
          prim::WaitForEarlierGrids();
          seen[prim::ThreadX()] = value;
        }) == "");
  CHECK(seen == std::vector<int>(64, 5));
  CHECK(emu::Launch(options, [] {}) == "nobody waited for the grid before");
}

}  // namespace
}  // namespace sage::cuda
