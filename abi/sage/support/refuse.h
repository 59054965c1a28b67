/* refuse.h: writing an answer and an error the way the contract wants them: a sentence, cut to fit, NUL at the end. */
#ifndef SAGE_SUPPORT_REFUSE_H_
#define SAGE_SUPPORT_REFUSE_H_
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sage/plugin.h"
#include "sage/support/take_in.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills the caller's error slot (null or size 0: nothing) and returns status. printf format. */
__attribute__((format(printf, 3, 4))) static inline sage_status sage_fail(sage_error* err, sage_status status,
                                                                          const char* format, ...) {
  sage_error mine;
  va_list arguments;
  memset(&mine, 0, sizeof mine);
  mine.struct_size = (uint32_t)sizeof mine;
  mine.status = status;
  va_start(arguments, format);
  (void)vsnprintf(mine.message, sizeof mine.message, format, arguments);
  va_end(arguments);
  sage_give_out(err, &mine, (uint32_t)sizeof mine);
  return status;
}

/* Clears the caller's error slot: every call that succeeds does. */
static inline sage_status sage_succeed(sage_error* err) {
  sage_error mine;
  if (err == 0) return SAGE_OK;
  memset(&mine, 0, sizeof mine);
  mine.struct_size = (uint32_t)sizeof mine;
  sage_give_out(err, &mine, (uint32_t)sizeof mine);
  return SAGE_OK;
}

/* *answer = NO with its reason; blocking = the feature bits at fault, 0 if it was something else. */
__attribute__((format(printf, 3, 4))) static inline void sage_refuse(sage_answer* answer, uint64_t blocking,
                                                                     const char* format, ...) {
  va_list arguments;
  memset(answer, 0, sizeof *answer);
  answer->struct_size = (uint32_t)sizeof *answer;
  answer->verdict = SAGE_NO;
  answer->blocking = blocking;
  va_start(arguments, format);
  (void)vsnprintf(answer->reason, sizeof answer->reason, format, arguments);
  va_end(arguments);
}

/* *answer = YES at that price, with its reason. cost_ns and workspace_bytes: one run at the planned shapes;
 * cost_source SAGE_COST_*; accuracy: the class delivered. */
__attribute__((format(printf, 6, 7))) static inline void sage_accept(sage_answer* answer, double cost_ns,
                                                                     uint32_t cost_source, uint32_t accuracy,
                                                                     uint64_t workspace_bytes, const char* format,
                                                                     ...) {
  va_list arguments;
  memset(answer, 0, sizeof *answer);
  answer->struct_size = (uint32_t)sizeof *answer;
  answer->verdict = SAGE_YES;
  answer->cost_ns = cost_ns;
  answer->cost_source = cost_source;
  answer->accuracy = accuracy;
  answer->workspace_bytes = workspace_bytes;
  va_start(arguments, format);
  (void)vsnprintf(answer->reason, sizeof answer->reason, format, arguments);
  va_end(arguments);
}

#ifdef __cplusplus
}
#endif
#endif
