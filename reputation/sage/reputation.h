/* reputation.h: how far an expert may be trusted in a context, learned from the quality of what it did, kept in SQLite.
 *
 * A library of its own (libsage-reputation.so.0): the engine takes trust as an input and knows no database. Kept per
 * (component, layer, expert, context): trust t, a moving average that begins at 0.5 and follows quality q by
 * t <- 0.9 t + 0.1 q, and the number of samples behind it.
 *
 * Ownership, errors and texts as in sage.h. A store is free-threaded and may be shared by processes: a writer waits up to
 * two seconds for another, then SAGE_E_BUSY. Every call is one transaction: done whole or not at all.
 */
#ifndef SAGE_REPUTATION_H_
#define SAGE_REPUTATION_H_
#include "sage/types.h"
#ifdef __cplusplus
extern "C" {
#endif

#define SAGE_REPUTATION_API __attribute__((visibility("default")))

#define SAGE_REPUTATION_PRIOR 0.5 /* trust where nothing is known, with 0 samples */
#define SAGE_REPUTATION_RATE 0.1  /* weight of a new sample */

typedef struct sage_reputation sage_reputation;

/* Opens or creates. SAGE_E_BAD_DATA: not SQLite, another program's database, damaged, or of a newer version (the message
 * names both). SAGE_E_IO: the system refuses the file. */
SAGE_REPUTATION_API sage_status sage_reputation_open(const char *path, sage_reputation **out, sage_error *err);
SAGE_REPUTATION_API void sage_reputation_close(sage_reputation *store); /* null is allowed */

/* One sample: quality in [0,1]. trust and samples (each optional): what holds afterwards. expert >= 0; component and
 * context are 1 to 256 bytes of UTF-8. */
SAGE_REPUTATION_API sage_status sage_reputation_update(sage_reputation *store, const char *component, int64_t layer,
                                                       int64_t expert, const char *context, double quality,
                                                       double *trust, int64_t *samples, sage_error *err);
/* One sample for each of count experts, in this order, in one transaction. An expert may stand there twice. */
SAGE_REPUTATION_API sage_status sage_reputation_update_many(sage_reputation *store, const char *component,
                                                            int64_t layer, const char *context,
                                                            const int64_t *experts, const double *quality,
                                                            uint64_t count, sage_error *err);
/* The prior and 0 samples where nothing is known. */
SAGE_REPUTATION_API sage_status sage_reputation_get(sage_reputation *store, const char *component, int64_t layer,
                                                    int64_t expert, const char *context, double *trust,
                                                    int64_t *samples, sage_error *err);
/* Of experts 0 .. count-1: what an ExpertGraph takes as `trust`. samples is (optional). */
SAGE_REPUTATION_API sage_status sage_reputation_row(sage_reputation *store, const char *component, int64_t layer,
                                                    const char *context, uint64_t count, double *trust,
                                                    int64_t *samples, sage_error *err);
/* Forgets an expert in one context, or in all of them (context null). *removed (optional): how many entries went. */
SAGE_REPUTATION_API sage_status sage_reputation_forget(sage_reputation *store, const char *component, int64_t layer,
                                                       int64_t expert, const char *context, uint64_t *removed,
                                                       sage_error *err);
/* JSON: [{"component","layer","expert","context","trust","samples"} ...], ordered by these. */
SAGE_REPUTATION_API sage_status sage_reputation_list(sage_reputation *store, char *buffer, uint64_t capacity,
                                                     uint64_t *needed, sage_error *err);

#ifdef __cplusplus
}
#endif
#endif
