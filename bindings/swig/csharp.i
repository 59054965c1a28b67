// csharp.i: how arguments cross to C#. Handles are SafeHandles, which keep what they name alive during a call and refuse
// what is closed; memory is an address that C# has pinned; texts are UTF-8 in byte[]. An error is handed to C# by a
// callback at once, while it is on C's stack, and thrown when the call is back: a successful call pays nothing for it.
%module SageNative
%pragma(csharp) imclassclassmodifiers="internal class"
%pragma(csharp) moduleclassmodifiers="internal class"
%{
#include "sage_flat.h"

typedef void (*sage_csharp_raise_fn)(int32_t status, int64_t native_code, const char *message);
static sage_csharp_raise_fn sage_csharp_raise;
static void sage_csharp_on_error(sage_csharp_raise_fn fn) { sage_csharp_raise = fn; }
static void sage_csharp_free(void *bytes) { free(bytes); }

/* The delegate's address is the callback's user; its own user says that a thread of the engine calls first. */
static void sage_csharp_log(void *user, int32_t level, const char *utf8, uint64_t length) {
  ((sage_log_fn)user)((void *)(intptr_t)sage_flat_admit_signals(), level, utf8, length);
}
static int32_t sage_csharp_cancel(void *user) {
  return ((sage_cancel_fn)user)((void *)(intptr_t)sage_flat_admit_signals());
}
static sage_status sage_csharp_set_log(sage_options *options, sage_log_fn fn, sage_error *err) {
  return sage_options_set_log(options, fn == NULL ? NULL : sage_csharp_log, (void *)fn, err);
}
static sage_status sage_csharp_set_cancel(sage_options *options, sage_cancel_fn fn, sage_error *err) {
  return sage_options_set_cancel(options, fn == NULL ? NULL : sage_csharp_cancel, (void *)fn, err);
}
%}

%apply int { int32_t };
%apply unsigned int { uint32_t, sage_dtype };
%apply long long { int64_t };
%apply unsigned long long { uint64_t };

%define SAGE_CROSSES(T, IM, CS, CSIN)
%typemap(ctype) T "void *"
%typemap(imtype, out="global::System.IntPtr") T IM
%typemap(cstype, out="global::System.IntPtr") T CS
%typemap(csin) T CSIN
%typemap(in) T "$1 = ($1_ltype)$input;"
%typemap(out) T "$result = (void *)$1;"
%typemap(csout) T { return $imcall; }
%enddef
%define SAGE_HANDLE(T, HANDLE)
SAGE_CROSSES(T *, HANDLE, HANDLE, "$csinput")
SAGE_CROSSES(const T *, HANDLE, HANDLE, "$csinput")
SAGE_CROSSES(T *raw, "global::System.IntPtr", "global::System.IntPtr", "$csinput")
%typemap(csout) T * { return Errors.NotNull($imcall); }
%enddef
SAGE_HANDLE(sage_options, "OptionsHandle")
SAGE_HANDLE(sage_engine, "EngineHandle")
SAGE_HANDLE(sage_attention_plan, "PlanHandle")
SAGE_HANDLE(sage_attention_context, "ContextHandle")
SAGE_HANDLE(sage_model, "ModelHandle")
SAGE_HANDLE(sage_session, "SessionHandle")
SAGE_HANDLE(sage_flat_op, "OpHandle")

SAGE_CROSSES(void *, "global::System.IntPtr", "global::System.IntPtr", "$csinput")
SAGE_CROSSES(const void *, "global::System.IntPtr", "global::System.IntPtr", "$csinput")
SAGE_CROSSES(const int64_t *, "long[]", "long[]", "$csinput")
SAGE_CROSSES(const uint32_t *, "uint[]", "uint[]", "$csinput")
SAGE_CROSSES(int64_t *, "long[]", "long[]", "$csinput")
SAGE_CROSSES(uint32_t *, "uint[]", "uint[]", "$csinput")
SAGE_CROSSES(double *, "double[]", "double[]", "$csinput")
%typemap(imtype, inattributes="[global::System.Runtime.InteropServices.Out] ") int64_t * "long[]"
%typemap(imtype, inattributes="[global::System.Runtime.InteropServices.Out] ") uint32_t * "uint[]"
%typemap(imtype, inattributes="[global::System.Runtime.InteropServices.Out] ") double * "double[]"

// Texts: null for none. What comes back is copied at once.
SAGE_CROSSES(const char *, "byte[]", "string", "Text.Utf8($csinput)")
%typemap(cstype) const char * "string"
%typemap(csout) const char * { return Text.Borrowed($imcall); }
SAGE_CROSSES(sage_flat_bytes *, "global::System.IntPtr", "byte[]", "$csinput")
%typemap(cstype) sage_flat_bytes * "byte[]"
%typemap(csout) sage_flat_bytes * { return Text.Taken($imcall); }

// Callbacks: the delegate is kept by the handle that may call it.
SAGE_CROSSES(sage_log_fn, "NativeLog", "NativeLog", "$csinput")
SAGE_CROSSES(sage_cancel_fn, "NativeCancel", "NativeCancel", "$csinput")
SAGE_CROSSES(sage_csharp_raise_fn, "NativeRaise", "NativeRaise", "$csinput")

%typemap(ctype) sage_status "int"
%typemap(imtype) sage_status "int"
%typemap(cstype) sage_status "void"
%typemap(csout) sage_status { if ($imcall != 0) throw Errors.Taken(); }
%typemap(out) sage_status "$result = $1;"
%typemap(in, numinputs=0) sage_error *err (sage_error error) %{
  error.struct_size = sizeof error, error.status = SAGE_OK;
  $1 = &error;
%}
%typemap(argout) sage_error *err
  "if ($1->status != SAGE_OK && sage_csharp_raise) sage_csharp_raise($1->status, $1->native_code, $1->message);"

%include "sage.i"

%rename(options_set_log) sage_csharp_set_log;
%rename(options_set_cancel) sage_csharp_set_cancel;
sage_status sage_csharp_set_log(sage_options *options, sage_log_fn fn, sage_error *err);
sage_status sage_csharp_set_cancel(sage_options *options, sage_cancel_fn fn, sage_error *err);
%rename(on_error) sage_csharp_on_error;
%rename(free_bytes) sage_csharp_free;
void sage_csharp_on_error(sage_csharp_raise_fn fn);
void sage_csharp_free(void *bytes);
