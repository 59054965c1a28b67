// backend.h: openblas behind its table.
#ifndef SAGE_PLUGINS_OPENBLAS_BACKEND_H_
#define SAGE_PLUGINS_OPENBLAS_BACKEND_H_

#include "common/entries.h"

namespace sage::openblas {

void Probe(sage_answer* answer);
sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::openblas

#endif  // SAGE_PLUGINS_OPENBLAS_BACKEND_H_
