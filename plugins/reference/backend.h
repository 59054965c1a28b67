// backend.h: the reference behind its table.
#ifndef SAGE_PLUGINS_REFERENCE_BACKEND_H_
#define SAGE_PLUGINS_REFERENCE_BACKEND_H_

#include "common/entries.h"

namespace sage::reference {

void Probe(sage_answer* answer);
sage_status Create(const sage_host& host, const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err);

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_BACKEND_H_
