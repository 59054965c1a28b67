// shared_object.h: is this file a library for this machine, whose segments the dynamic linker can map and not die?
//
// The linker believes the table of segments: of one that is damaged it writes to addresses nobody mapped. What the
// segments contain is not looked at: a library whose tables of symbols are wrong still takes its process down, which is
// what `plugin probe` and `run --isolate` are for.
#ifndef SAGE_ENGINE_BACKEND_SHARED_OBJECT_H_
#define SAGE_ENGINE_BACKEND_SHARED_OBJECT_H_

#include "status.h"

namespace sage {

// A 64-bit shared object of this machine; its segments lie within the file, ascend in memory without overlap, and
// whatever else the table describes lies inside them. The file is not changed and its offset not moved.
Status CheckSharedObject(int descriptor);

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_SHARED_OBJECT_H_
