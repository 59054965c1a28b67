// sage.hpp: libsage for C++20: handles that close themselves, exceptions instead of codes, spans instead of pointers.
//
// A thin skin over sage/sage.h, which says what everything means; nothing here but what the language adds. Header only,
// no code of the engine: link libsage. Handles are movable and not copyable; they may be destroyed in any order.
// Threads as sage.h has them: an Engine, Model or AttentionPlan may be used by many, a Session or AttentionContext by
// one at a time, `cancel` from anywhere while the object lives.
//
// Every call that can fail throws sage::Error. Destructors and `cancel` never throw.
#ifndef SAGE_HPP_
#define SAGE_HPP_

#include "sage/attention.hpp"
#include "sage/engine.hpp"
#include "sage/error.hpp"
#include "sage/quantize.hpp"
#include "sage/session.hpp"
#include "sage/sparse.hpp"
#include "sage/tensor.hpp"

#endif  // SAGE_HPP_
