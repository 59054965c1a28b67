// backend.h: the int8 backend behind its table.
#ifndef SAGE_PLUGINS_INT8_BACKEND_H_
#define SAGE_PLUGINS_INT8_BACKEND_H_

#include "common/entries.h"

namespace sage::int8 {

constexpr uint64_t kKinds = SAGE_KIND_BIT(SAGE_OP_ATTENTION) | SAGE_KIND_BIT(SAGE_OP_LINEAR);

constexpr char kVersion[] = "0.1.0";

void Probe(sage_answer* answer);
// options: "isa=avx2" lines, isa.h has the names; "mode=full" lines, mode.h has them.
sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_BACKEND_H_
