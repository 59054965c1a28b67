// sm80.cc: what the primitives of sm_80 do to registers and shared memory.
#include "common/cuda/kernels/emu/sm80.h"

namespace sage::cuda::emu {
namespace {

struct Copy {
  unsigned char* to;
  const void* from;
  uint32_t bytes;
  bool zero, landed;
};
using Group = std::shared_ptr<std::vector<Copy>>;

void Land(std::vector<Copy>& group) {
  for (Copy& copy : group) {
    if (copy.landed) continue;
    copy.landed = true;
    if (copy.zero)
      std::memset(copy.to, 0, copy.bytes);
    else
      std::memcpy(copy.to, copy.from, copy.bytes);
  }
}

// A thread's copies: those since the last commit, and committed groups that have not been waited for.
struct Copies : Extension {
  Group open = std::make_shared<std::vector<Copy>>();
  std::vector<Group> groups;
  std::string AtEnd() override {
    size_t waiting = open->size();
    for (const Group& group : groups) waiting += group->size();
    return waiting == 0 ? "" : std::to_string(waiting) + " of its asynchronous copies were not waited for";
  }
};

// Row and column of a register's 16-bit half in a fragment, lane = 4 group + member.
struct Lane {
  uint32_t group, member;
};
Lane Split(uint32_t lane) { return {lane / 4, lane % 4}; }

uint16_t Half(uint32_t word, uint32_t half) { return static_cast<uint16_t>(word >> (16 * half)); }
int32_t Byte(uint32_t word, uint32_t byte) { return static_cast<int8_t>(word >> (8 * byte)); }

template <class Number>
struct Operands {
  Number (*c)[4];
  const uint32_t (*a)[4];
  uint32_t b[2];
};

// c is 16x8: two rows, 8 apart, of two neighbours.
template <class Number, size_t kDepth>
void Multiply(const std::array<Operands<Number>*, 32>& lanes, const Number (&a)[16][kDepth],
              const Number (&b)[kDepth][8]) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const auto [group, member] = Split(lane);
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = group + 8 * (i / 2), column = 2 * member + i % 2;
      Number sum = (*lanes[lane]->c)[i];
      for (size_t k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][column];
      (*lanes[lane]->c)[i] = sum;
    }
  }
}

}  // namespace

void CopyAsync(uint32_t to, const void* from, uint32_t bytes, bool zero) {
  unsigned char* at = SelfBlock().At(to, bytes, bytes, "cp.async");
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) Fail("cp.async from an address that is no multiple of its size");
  std::memset(at, 0xff, bytes);  // any part may have landed: nobody may read it now
  Self().extensions.Of<Copies>().open->push_back({at, from, bytes, zero, false});
}

void CopyAsyncCommit() {
  Copies& copies = Self().extensions.Of<Copies>();
  if (SelfMachine().Random(4) == 0) SelfMachine().Later(4096, [group = copies.open] { Land(*group); });
  copies.groups.push_back(std::move(copies.open));
  copies.open = std::make_shared<std::vector<Copy>>();
}

void CopyAsyncWait(uint32_t pending) {
  std::vector<Group>& groups = Self().extensions.Of<Copies>().groups;
  if (groups.size() <= pending) return;
  const auto waited = groups.end() - static_cast<std::ptrdiff_t>(pending);
  for (auto group = groups.begin(); group != waited; ++group) Land(**group);
  groups.erase(groups.begin(), waited);
}

void LoadMatrix4(uint32_t (&r)[4], uint32_t row, bool transposed) {
  struct {
    unsigned char* row;
    uint32_t (*r)[4];
  } mine{SelfBlock().At(row, 16, 16, "ldmatrix"), &r};
  WarpOperation(transposed ? "ldmatrix.x4.trans" : "ldmatrix.x4", mine, [transposed](auto& lanes) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const auto [group, member] = Split(lane);
      for (uint32_t matrix = 0; matrix < 4; ++matrix) {
        uint16_t halves[2];
        for (uint32_t h = 0; h < 2; ++h) {
          const uint32_t line = transposed ? 2 * member + h : group, column = transposed ? group : 2 * member + h;
          std::memcpy(&halves[h], lanes[8 * matrix + line]->row + 2 * column, 2);
        }
        (*lanes[lane]->r)[matrix] = halves[0] | static_cast<uint32_t>(halves[1]) << 16;
      }
    }
  });
}

void Mma16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (*decode)(uint16_t),
              const char* what) {
  Operands<float> mine{&c, &a, {b0, b1}};
  WarpOperation(what, mine, [decode](auto& lanes) {
    float wide_a[16][16], wide_b[16][8];
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const auto [group, member] = Split(lane);
      for (uint32_t h = 0; h < 2; ++h) {
        for (uint32_t i = 0; i < 4; ++i)
          wide_a[group + 8 * (i % 2)][2 * member + 8 * (i / 2) + h] = decode(Half((*lanes[lane]->a)[i], h));
        for (uint32_t i = 0; i < 2; ++i) wide_b[2 * member + 8 * i + h][group] = decode(Half(lanes[lane]->b[i], h));
      }
    }
    Multiply<float, 16>(lanes, wide_a, wide_b);
  });
}

void Mma16832(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Operands<int32_t> mine{&c, &a, {b0, b1}};
  WarpOperation("mma.m16n8k32.s8", mine, [](auto& lanes) {
    int32_t wide_a[16][32], wide_b[32][8];
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const auto [group, member] = Split(lane);
      for (uint32_t j = 0; j < 4; ++j) {
        for (uint32_t i = 0; i < 4; ++i)
          wide_a[group + 8 * (i % 2)][4 * member + 16 * (i / 2) + j] = Byte((*lanes[lane]->a)[i], j);
        for (uint32_t i = 0; i < 2; ++i) wide_b[4 * member + 16 * i + j][group] = Byte(lanes[lane]->b[i], j);
      }
    }
    Multiply<int32_t, 32>(lanes, wide_a, wide_b);
  });
}

}  // namespace sage::cuda::emu

namespace sage::cuda::prim {
namespace {
struct Votes : emu::Extension {
  bool any[2] = {false, false};
  uint32_t given = 0, taken = 0;
};
}  // namespace

bool SyncThreadsOr(bool vote) {
  // Two rounds can overlap: a thread votes in the next one while another has not yet read this one's answer.
  Votes& votes = emu::SelfBlock().extensions.Of<Votes>();
  const uint32_t threads = BlockThreads(), round = votes.given / threads % 2;
  votes.any[round] |= vote;
  ++votes.given;
  emu::Barrier(0, threads, true, "__syncthreads_or, barrier");
  const bool any = votes.any[round];
  if (++votes.taken % threads == 0) votes.any[round] = false;
  return any;
}

}  // namespace sage::cuda::prim
