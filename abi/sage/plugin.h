/* plugin.h: what a backend implements, and what the host lends it.
 *
 *   query -> probe -> create -> ask* -> plan -> run* -> plan_destroy -> destroy
 *
 * One shared object, one exported symbol, loaded once and never unloaded. A plugin starts no thread of its own, reads
 * no environment, writes no stdout, installs no handler, lets no exception, longjmp, abort or exit out. It is compiled
 * for the baseline CPU except its kernel files, which it enters after CPUID and XGETBV.
 */
#ifndef SAGE_PLUGIN_H_
#define SAGE_PLUGIN_H_
#include "sage/ops.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- a device, filled by the first plugin that creates its (type, id); the core links no CUDA --------------------- */

#define SAGE_DEVICE_HOST_VISIBLE 1u /* CPU and device share memory: copies are free (Orin) */

/* Free-threaded; valid until the supplying instance is destroyed, which the host does last. Streams and events are the
 * device's native ones (cudaStream_t, cudaEvent_t); CUDA means the primary context and ordinal ids. */
typedef struct sage_device_table {
  uint32_t struct_size;
  uint32_t flags;             /* SAGE_DEVICE_* */
  int32_t device_type, device_id;
  void *self;                 /* first argument of every call */
  double copy_latency_ns;     /* price of one copy to or from the CPU ... */
  double copy_bytes_per_ns;   /* ... plus bytes / this */
  sage_status (*alloc)(void *self, uint64_t bytes, uint64_t align, void **out, sage_error *err);
  void (*free)(void *self, void *ptr);
  /* Enqueues; either side may be CPU memory, which must live until the stream is synchronised. */
  sage_status (*copy)(void *self, void *dst, const void *src, uint64_t bytes, void *stream, sage_error *err);
  sage_status (*stream_create)(void *self, void **out, sage_error *err);
  void (*stream_destroy)(void *self, void *stream);
  sage_status (*stream_synchronize)(void *self, void *stream, sage_error *err); /* reports errors of earlier work */
  sage_status (*event_create)(void *self, void **out, sage_error *err);
  void (*event_destroy)(void *self, void *event);
  sage_status (*event_record)(void *self, void *event, void *stream, sage_error *err);
  sage_status (*event_wait)(void *self, void *event, void *stream, sage_error *err); /* the stream waits, not the CPU */
  sage_status (*memory_info)(void *self, uint64_t *free_bytes, uint64_t *total_bytes, sage_error *err);
  /* (optional, the four of them or none) Recorded work. After capture_begin, what this thread enqueues on the stream, runs
   * included, is recorded instead of done, until capture_end, which ends it whatever happened: *graph, or an error where
   * something of it could not be recorded. graph_launch enqueues all that was recorded, at the addresses of then; on any
   * stream of the device, on one at a time. graph_destroy: once nothing of it is under way. */
  sage_status (*capture_begin)(void *self, void *stream, sage_error *err);
  sage_status (*capture_end)(void *self, void *stream, void **graph, sage_error *err);
  sage_status (*graph_launch)(void *self, void *graph, void *stream, sage_error *err);
  void (*graph_destroy)(void *self, void *graph);
  /* (optional, both or neither) CPU memory that the device reaches by itself (page-locked): copies from and to it may be
   * recorded. align: a power of two up to 4096. */
  sage_status (*host_alloc)(void *self, uint64_t bytes, uint64_t align, void **out, sage_error *err);
  void (*host_free)(void *self, void *ptr);
} sage_device_table;

/* ---- what the host lends ------------------------------------------------------------------------------------------ */

#define SAGE_LOG_ERROR 1
#define SAGE_LOG_WARNING 2
#define SAGE_LOG_INFO 3
#define SAGE_LOG_DEBUG 4

/* Free-threaded, no call reenters the plugin except through parallel_for's task. Valid until destroy returns; in probe,
 * until probe returns. `run` below is sage_run_args.run, or null outside a run. */
typedef struct sage_host {
  uint32_t struct_size;
  uint32_t abi_minor;   /* the lower of both; nothing newer may be used */
  void *self;           /* first argument of every call */
  uint32_t num_workers; /* >= 1, fixed at create */
  uint32_t reserved;
  /* Memory that outlives one run, on CPU or device, counted by the host. Never called from run. align: a power of two. */
  sage_status (*alloc)(void *self, int32_t device_type, int32_t device_id, uint64_t bytes, uint64_t align, void **out,
                       sage_error *err);
  void (*free)(void *self, int32_t device_type, int32_t device_id, void *ptr);
  /* Covers [0,n) in pieces of about `grain`; the caller takes part; returns when all are done. Nested calls run inline. */
  void (*parallel_for)(void *self, uint64_t n, uint64_t grain, sage_task_fn task, void *ctx);
  void (*log)(void *self, int32_t level, const char *utf8, uint64_t length); /* SAGE_LOG_*; one line, no newline */
  int32_t (*log_level)(void *self); /* levels above it are dropped: ask before formatting */
  uint64_t (*span_begin)(void *self, void *run, const char *name); /* name lives for ever; 0 when tracing is off */
  void (*span_end)(void *self, void *run, uint64_t span);
  int32_t (*cancelled)(void *self, void *run); /* non-zero: return SAGE_E_CANCELLED soon; cheap, poll per tile */
  /* *out = the device's table, or null while nobody has supplied one: then this plugin will be asked to. */
  sage_status (*device)(void *self, int32_t device_type, int32_t device_id, const sage_device_table **out,
                        sage_error *err);
  /* All SAGE_ATTN_F_* bits of an attention op: the one derivation, used for every backend. */
  sage_status (*attention_features)(void *self, const sage_op *op, uint64_t *out, sage_error *err);
  /* Adds to a counter of this run's node, where tracing is on: tiles computed, tiles skipped. name lives for ever; at
   * most 8 names a node are kept. Free-threaded and lock-free, but not free: once a task, not once a tile. */
  void (*count)(void *self, void *run, const char *name, uint64_t amount);
  /* (optional) Where a plugin may keep what it measured: an absolute path of one line, null where nothing may be kept. The
   * folder may not be there yet. Files in it carry the plugin's name and are untrusted when read. For ever valid. */
  const char *(*cache_folder)(void *self);
} sage_host;

/* ---- what the plugin answers -------------------------------------------------------------------------------------- */

#define SAGE_NO 0
#define SAGE_YES 1
#define SAGE_COST_RULE 1  /* a rule of thumb */
#define SAGE_COST_MODEL 2 /* from FLOPs, bytes and the machine's rates; measured costs are the host's own */

typedef struct sage_answer {
  uint32_t struct_size;
  uint32_t verdict;         /* SAGE_NO, SAGE_YES */
  uint64_t blocking;        /* NO: the SAGE_ATTN_F_* at fault, 0 if it was something else */
  double cost_ns;           /* YES: one run at the planned shapes */
  uint32_t cost_source;     /* SAGE_COST_* */
  uint32_t accuracy;        /* YES: the class delivered, never AUTO */
  uint64_t workspace_bytes; /* YES: upper bound */
  char reason[240];         /* one sentence, for YES and for NO; never empty */
} sage_answer;

typedef struct sage_plan_info {
  uint32_t struct_size, reserved;
  uint64_t workspace_bytes; /* binds, and is <= the answer's */
  uint64_t prepack_bytes;   /* held by this plan; 0 where shared with `like` */
  uint64_t packed_kv_bytes; /* of workspace_bytes: K and V packed for the kernel, O(keys); reported apart */
  uint64_t partials_bytes;  /* of workspace_bytes: partial results of split keys, merged at the end */
} sage_plan_info;

typedef struct sage_run_args {
  uint32_t struct_size, num_slots;
  const sage_tensor *const *slots; /* as planned: same dtypes, strides, devices; dynamic axes may be smaller */
  void *workspace;                 /* aligned to 64 on CPU, 256 on a device; contents undefined before and after */
  uint64_t workspace_bytes;
  void *stream;                    /* the device's; null on CPU */
  void *run;                       /* names this run to the host's cancelled and spans */
} sage_run_args;

typedef struct sage_instance sage_instance; /* one per engine and device */
typedef struct sage_plan sage_plan;         /* immutable, shared by threads; destroyed before its instance */

/* Every entry is set and free-threaded unless it says otherwise. */
typedef struct sage_plugin {
  uint32_t struct_size;
  uint32_t abi_major, abi_minor;  /* compiled against */
  uint32_t abi_minor_min;         /* the oldest host minor it can serve */
  const char *name;               /* [a-z0-9_]{1,32}; what configs and explain call it */
  const char *version;            /* semantic version of the plugin */
  const char *build;              /* git id, compiler, versions of libraries built for; free text */
  const char *foreign_threads;    /* (optional) library and number of threads it brings, shown by explain; null = none */
  uint64_t kinds;                 /* SAGE_KIND_BIT of all it may ever serve: a first filter without a call */
  uint64_t features;              /* SAGE_ATTN_F_* likewise */
  int32_t device_type;            /* the one type it serves */
  uint32_t reserved;

  /* Can it run here? Cheap, repeatable, keeps nothing. *count = devices of its type (0: no driver). SAGE_OK with NO and
   * the reason (driver missing, library older than built for); another status means the plugin is broken. */
  sage_status (*probe)(const sage_host *host, int32_t device_id, uint32_t *count, sage_answer *out, sage_error *err);
  /* May be slow: heavy libraries are dlopen'ed here. options: "key=value" lines, null = none; an unknown key is an
   * error. host stays valid until destroy. Not called twice at once for one device. */
  sage_status (*create)(const sage_host *host, int32_t device_id, const char *options, sage_instance **out,
                        sage_error *err);
  void (*destroy)(sage_instance *instance);
  /* (optional) Asked once, after create, if no one has supplied this device yet. Null on CPU. */
  sage_status (*device)(sage_instance *instance, const sage_device_table **out, sage_error *err);

  /* Pure: same question, same answer; data pointers are ignored. SAGE_OK for YES and for NO; unknown fields are NO. */
  sage_status (*ask)(sage_instance *instance, const sage_op *op, sage_answer *out, sage_error *err);
  /* May be slow. op is copied; shapes are upper bounds; constants stay valid until plan_destroy and are packed through
   * host->alloc. like (optional): this node's plan for another bucket; its packed constants are shared and counted,
   * so the two may be destroyed in any order. */
  sage_status (*plan)(sage_instance *instance, const sage_op *op, const sage_plan *like, sage_plan **out,
                      sage_plan_info *info, sage_error *err);
  void (*plan_destroy)(sage_plan *plan);
  /* Enqueues on the stream (CPU: finishes). Allocates nothing, takes no lock; re-entrant on one plan with separate
   * workspaces. On an error the outputs are undefined, the plan stays usable. */
  sage_status (*run)(const sage_plan *plan, const sage_run_args *args, sage_error *err);
} sage_plugin;

/* The entry. Returns its constant table for every minor of its major, so that the host can name both versions when it
 * refuses; null for another major. Touches no device. */
typedef const sage_plugin *(*sage_plugin_query_fn)(uint32_t host_major, uint32_t host_minor);
#define SAGE_PLUGIN_QUERY_SYMBOL "sage_plugin_query_v1"

/* SAGE_PLUGIN_ENTRY(name) { return ...; } : the exported symbol, or <name>_plugin_query in the generated table of
 * built-in plugins when compiled with SAGE_PLUGIN_BUILTIN. */
#if defined(SAGE_PLUGIN_BUILTIN) && defined(__cplusplus)
#define SAGE_PLUGIN_ENTRY(name)                                                                \
  extern "C" const sage_plugin *name##_plugin_query(uint32_t host_major, uint32_t host_minor); \
  extern "C" const sage_plugin *name##_plugin_query(uint32_t host_major, uint32_t host_minor)
#elif defined(SAGE_PLUGIN_BUILTIN)
#define SAGE_PLUGIN_ENTRY(name)                                                     \
  const sage_plugin *name##_plugin_query(uint32_t host_major, uint32_t host_minor); \
  const sage_plugin *name##_plugin_query(uint32_t host_major, uint32_t host_minor)
#else
__attribute__((visibility("default"))) const sage_plugin *sage_plugin_query_v1(uint32_t host_major, uint32_t host_minor);
#define SAGE_PLUGIN_ENTRY(name) const sage_plugin *sage_plugin_query_v1(uint32_t host_major, uint32_t host_minor)
#endif

#ifdef __cplusplus
}
#endif
#endif
