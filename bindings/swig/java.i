// java.i: how arguments cross to Java. Handles and addresses are long, texts and bytes are byte[] (Java's own strings
// would come in modified UTF-8), an error is thrown as org.sage.SageException. No typemap returns early: what was
// taken before it would not be released.
%module SageNative
%pragma(java) jniclassclassmodifiers="final class"
%pragma(java) moduleclassmodifiers="final class"
%{
#include "java_callbacks.h"
%}

%apply int { int32_t, uint32_t, sage_dtype };
%apply long long { int64_t, uint64_t };

// A status is what err says; nothing is returned.
%typemap(jni) sage_status "void"
%typemap(jtype) sage_status "void"
%typemap(jstype) sage_status "void"
%typemap(javaout) sage_status { $jnicall; }
%typemap(out) sage_status "(void)$1;"
%typemap(in, numinputs=0) sage_error *err (sage_error error) %{
  error.struct_size = sizeof error, error.status = SAGE_OK;
  $1 = &error;
%}
%typemap(argout) sage_error *err "if ($1->status != SAGE_OK) sage_java_throw(jenv, $1);"

// Handles and addresses.
%define SAGE_ADDRESS(T...)
%typemap(jni) T "jlong"
%typemap(jtype) T "long"
%typemap(jstype) T "long"
%typemap(javain) T "$javainput"
%typemap(javaout) T { return $jnicall; }
%typemap(in) T "$1 = ($1_ltype)(intptr_t)$input;"
%typemap(out) T "$result = (jlong)(intptr_t)$1;"
%enddef
SAGE_ADDRESS(SWIGTYPE *)
SAGE_ADDRESS(void *)

// Texts in, null for none; and borrowed texts out.
%typemap(jni) const char * "jbyteArray"
%typemap(jtype) const char * "byte[]"
%typemap(jstype) const char * "String"
%typemap(javain) const char * "Text.utf8($javainput)"
%typemap(javaout) const char * { return Text.of($jnicall); }
%typemap(in) const char * "$1 = $input ? (char *)(*jenv)->GetByteArrayElements(jenv, $input, NULL) : NULL;"
%typemap(freearg) const char * "if ($1) (*jenv)->ReleaseByteArrayElements(jenv, $input, (jbyte *)$1, JNI_ABORT);"
%typemap(out) const char * "$result = $1 ? sage_java_bytes(jenv, $1, strlen($1)) : NULL;"
// Bytes in and out.
%typemap(jni) (const void *bytes, uint64_t size) "jbyteArray"
%typemap(jtype) (const void *bytes, uint64_t size) "byte[]"
%typemap(jstype) (const void *bytes, uint64_t size) "byte[]"
%typemap(javain) (const void *bytes, uint64_t size) "$javainput"
%typemap(in) (const void *bytes, uint64_t size) %{
  $1 = (*jenv)->GetByteArrayElements(jenv, $input, NULL);
  $2 = (uint64_t)(*jenv)->GetArrayLength(jenv, $input);
%}
%typemap(freearg) (const void *bytes, uint64_t size)
  "if ($1) (*jenv)->ReleaseByteArrayElements(jenv, $input, (jbyte *)$1, JNI_ABORT);"
%typemap(jni) sage_flat_bytes * "jbyteArray"
%typemap(jtype) sage_flat_bytes * "byte[]"
%typemap(jstype) sage_flat_bytes * "byte[]"
%typemap(javaout) sage_flat_bytes * { return $jnicall; }
%typemap(out) sage_flat_bytes * %{
  $result = $1 ? sage_java_bytes(jenv, $1->data, $1->size) : NULL;
  free($1);
%}

// Arrays: copies, since a pinned one would hold up the collector for as long as a call takes. AFTER: JNI_ABORT for what
// is only read, 0 for what comes back.
%define SAGE_ARRAY(T, JNI, JAVA, GET, RELEASE, AFTER)
%typemap(jni) T "JNI"
%typemap(jtype) T "JAVA[]"
%typemap(jstype) T "JAVA[]"
%typemap(javain) T "$javainput"
%typemap(in) T "$1 = $input ? ($1_ltype)(*jenv)->GET(jenv, $input, NULL) : NULL;"
%typemap(freearg) T "if ($1) (*jenv)->RELEASE(jenv, $input, (void *)$1, AFTER);"
%enddef
SAGE_ARRAY(const float *, jfloatArray, float, GetFloatArrayElements, ReleaseFloatArrayElements, JNI_ABORT)
SAGE_ARRAY(float *, jfloatArray, float, GetFloatArrayElements, ReleaseFloatArrayElements, 0)
SAGE_ARRAY(const double *, jdoubleArray, double, GetDoubleArrayElements, ReleaseDoubleArrayElements, JNI_ABORT)
SAGE_ARRAY(double *, jdoubleArray, double, GetDoubleArrayElements, ReleaseDoubleArrayElements, 0)
SAGE_ARRAY(const int64_t *, jlongArray, long, GetLongArrayElements, ReleaseLongArrayElements, JNI_ABORT)
SAGE_ARRAY(int64_t *, jlongArray, long, GetLongArrayElements, ReleaseLongArrayElements, 0)
SAGE_ARRAY(const uint32_t *, jintArray, int, GetIntArrayElements, ReleaseIntArrayElements, JNI_ABORT)
SAGE_ARRAY(uint32_t *, jintArray, int, GetIntArrayElements, ReleaseIntArrayElements, 0)
%typemap(jni) (uint32_t rank, const int64_t *shape) "jlongArray"
%typemap(jtype) (uint32_t rank, const int64_t *shape) "long[]"
%typemap(jstype) (uint32_t rank, const int64_t *shape) "long[]"
%typemap(javain) (uint32_t rank, const int64_t *shape) "$javainput"
%typemap(in) (uint32_t rank, const int64_t *shape) %{
  $1 = (uint32_t)(*jenv)->GetArrayLength(jenv, $input);
  $2 = (int64_t *)(*jenv)->GetLongArrayElements(jenv, $input, NULL);
%}
%typemap(freearg) (uint32_t rank, const int64_t *shape)
  "if ($2) (*jenv)->ReleaseLongArrayElements(jenv, $input, (jlong *)$2, JNI_ABORT);"

%include "sage.i"

// Attention on Java's own arrays.
%inline %{
static sage_status sage_flat_attention_f32(sage_engine *engine, uint32_t layout, int64_t batch, int64_t heads_q,
                                           int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk,
                                           int64_t dim_v, const float *q, const float *k, const float *v, float *o,
                                           uint32_t causal, double scale, sage_error *err) {
  return sage_attention(engine, SAGE_F32, layout, batch, heads_q, heads_kv, seq_q, seq_kv, dim_qk, dim_v, q, k, v, o,
                        causal, scale, err);
}
static sage_status sage_flat_attention_f64(sage_engine *engine, uint32_t layout, int64_t batch, int64_t heads_q,
                                           int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk,
                                           int64_t dim_v, const double *q, const double *k, const double *v, double *o,
                                           uint32_t causal, double scale, sage_error *err) {
  return sage_attention(engine, SAGE_F64, layout, batch, heads_q, heads_kv, seq_q, seq_kv, dim_qk, dim_v, q, k, v, o,
                        causal, scale, err);
}
%}

// Of a direct buffer: its address at position 0.
%typemap(jni) jobject BUFFER, jobject CALLBACK "jobject"
%typemap(jtype) jobject BUFFER "java.nio.Buffer"
%typemap(jstype) jobject BUFFER "java.nio.Buffer"
%typemap(jtype) jobject CALLBACK "Object"
%typemap(jstype) jobject CALLBACK "Object"
%typemap(javain) jobject BUFFER, jobject CALLBACK "$javainput"
%typemap(in) jobject BUFFER, jobject CALLBACK "$1 = $input;"
%typemap(in, numinputs=0) JNIEnv *ENV "$1 = jenv;"
%rename(buffer_address) sage_java_buffer_address;
%rename(callback_new) sage_java_callback_new;
%rename(callback_free) sage_java_callback_free;
%rename(options_set_log) sage_java_options_set_log;
%rename(options_set_cancel) sage_java_options_set_cancel;
void *sage_java_buffer_address(JNIEnv *ENV, jobject BUFFER);
sage_java_callback *sage_java_callback_new(JNIEnv *ENV, jobject CALLBACK);
void sage_java_callback_free(JNIEnv *ENV, sage_java_callback *callback);
sage_status sage_java_options_set_log(sage_options *options, sage_java_callback *callback, sage_error *err);
sage_status sage_java_options_set_cancel(sage_options *options, sage_java_callback *callback, sage_error *err);
