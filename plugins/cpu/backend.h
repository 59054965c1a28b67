// backend.h: the cpu backend behind its table.
#ifndef SAGE_PLUGINS_CPU_BACKEND_H_
#define SAGE_PLUGINS_CPU_BACKEND_H_

#include "common/entries.h"

namespace sage::cpu {

// Every kind of this build: 1 to POOL.
constexpr uint64_t kKinds = ((1ull << (SAGE_OP_POOL + 1)) - 1) & ~1ull;

constexpr char kVersion[] = "0.1.0";

void Probe(sage_answer* answer);
// options: "isa=avx2" lines; isa is auto, scalar, avx2, avx512, avx512bf16, amx or neon; and those of tuning:
// attention_tune.h.
sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_BACKEND_H_
