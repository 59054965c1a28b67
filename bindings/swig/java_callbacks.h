/* java_callbacks.h: errors thrown, and log and cancel callbacks called, in Java; written by hand, since SWIG has
 * callbacks for C++ only.
 *
 * A callback is a global reference that org.sage frees once no handle may call it any more. Threads of the engine are
 * attached as daemons, so they keep no JVM alive, when they first call, and detached when they end. No exception
 * stays pending: an engine's thread would carry it into its next call.
 */
#ifndef SAGE_JAVA_CALLBACKS_H_
#define SAGE_JAVA_CALLBACKS_H_
#include <jni.h>
#include <pthread.h>

#include "sage_flat.h"

static JavaVM* sage_java_vm;
static pthread_key_t sage_java_attached; /* set in threads that we attached */
/* Found when the library is loaded: a thread of the engine would look for classes in the system's loader only. */
static jclass sage_java_exceptions, sage_java_callbacks;
static jmethodID sage_java_exception_of, sage_java_log_method, sage_java_cancel_method;

static void sage_java_detach(void* vm) { (*(JavaVM*)vm)->DetachCurrentThread((JavaVM*)vm); }

static jclass sage_java_class(JNIEnv* env, const char* name) {
  jclass local = (*env)->FindClass(env, name);
  if (local == NULL) return NULL;
  jclass global = (*env)->NewGlobalRef(env, local);
  (*env)->DeleteLocalRef(env, local);
  return global;
}

JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void* reserved) {
  JNIEnv* env = NULL;
  (void)reserved;
  sage_java_vm = vm;
  if ((*vm)->GetEnv(vm, (void**)&env, JNI_VERSION_10) != JNI_OK) return JNI_ERR;
  if (pthread_key_create(&sage_java_attached, sage_java_detach) != 0) return JNI_ERR;
  if ((sage_java_exceptions = sage_java_class(env, "org/sage/SageException")) == NULL) return JNI_ERR;
  if ((sage_java_callbacks = sage_java_class(env, "org/sage/Callback")) == NULL) return JNI_ERR;
  sage_java_exception_of = (*env)->GetStaticMethodID(env, sage_java_exceptions, "of", "(IJ[B)Lorg/sage/SageException;");
  if (sage_java_exception_of == NULL) return JNI_ERR;
  sage_java_log_method = (*env)->GetStaticMethodID(env, sage_java_callbacks, "log", "(Ljava/lang/Object;I[B)V");
  if (sage_java_log_method == NULL) return JNI_ERR;
  sage_java_cancel_method = (*env)->GetStaticMethodID(env, sage_java_callbacks, "cancel", "(Ljava/lang/Object;)Z");
  return sage_java_cancel_method == NULL ? JNI_ERR : JNI_VERSION_10;
}

/* Null with an OutOfMemoryError pending where the JVM has no room or Java no array of that size. */
static jbyteArray sage_java_bytes(JNIEnv* env, const char* from, uint64_t size) {
  jbyteArray bytes = (*env)->NewByteArray(env, size > 0x7fffffff ? 0x7fffffff : (jsize)size);
  if (bytes != NULL) (*env)->SetByteArrayRegion(env, bytes, 0, (jsize)size, (const jbyte*)from);
  return bytes;
}

static void sage_java_throw(JNIEnv* env, const sage_error* error) {
  if ((*env)->ExceptionCheck(env)) return; /* the arguments could not be read: that is the cause */
  jbyteArray message = sage_java_bytes(env, error->message, strlen(error->message));
  if (message == NULL) return;
  jobject exception = (*env)->CallStaticObjectMethod(env, sage_java_exceptions, sage_java_exception_of,
                                                     (jint)error->status, (jlong)error->native_code, message);
  if (!(*env)->ExceptionCheck(env) && exception != NULL) (*env)->Throw(env, (jthrowable)exception);
}

typedef struct sage_java_callback {
  jobject object;
} sage_java_callback;

static JNIEnv* sage_java_env(void) {
  (void)sage_flat_admit_signals();
  JNIEnv* env = NULL;
  if ((*sage_java_vm)->GetEnv(sage_java_vm, (void**)&env, JNI_VERSION_10) == JNI_OK) return env;
  JavaVMAttachArgs arguments = {JNI_VERSION_10, (char*)"sage", NULL};
  if ((*sage_java_vm)->AttachCurrentThreadAsDaemon(sage_java_vm, (void**)&env, &arguments) != JNI_OK) return NULL;
  pthread_setspecific(sage_java_attached, sage_java_vm);
  return env;
}

static void sage_java_log(void* user, int32_t level, const char* utf8, uint64_t length) {
  JNIEnv* env = sage_java_env();
  if (env == NULL || (*env)->ExceptionCheck(env)) return;
  jbyteArray text = sage_java_bytes(env, utf8, length);
  if (text != NULL)
    (*env)->CallStaticVoidMethod(env, sage_java_callbacks, sage_java_log_method, ((sage_java_callback*)user)->object,
                                 (jint)level, text);
  if ((*env)->ExceptionCheck(env)) (*env)->ExceptionClear(env);
  if (text != NULL) (*env)->DeleteLocalRef(env, text);
}

/* Who cannot be asked any more wants to stop. */
static int32_t sage_java_cancel(void* user) {
  JNIEnv* env = sage_java_env();
  if (env == NULL || (*env)->ExceptionCheck(env)) return 1;
  const jboolean stop = (*env)->CallStaticBooleanMethod(env, sage_java_callbacks, sage_java_cancel_method,
                                                        ((sage_java_callback*)user)->object);
  if (!(*env)->ExceptionCheck(env)) return stop == JNI_TRUE;
  (*env)->ExceptionClear(env);
  return 1;
}

static void* sage_java_buffer_address(JNIEnv* env, jobject buffer) {
  return (*env)->GetDirectBufferAddress(env, buffer);
}

static sage_java_callback* sage_java_callback_new(JNIEnv* env, jobject object) {
  sage_java_callback* callback = malloc(sizeof *callback);
  if (callback == NULL) return NULL;
  callback->object = (*env)->NewGlobalRef(env, object);
  if (callback->object != NULL) return callback;
  free(callback);
  return NULL;
}
static void sage_java_callback_free(JNIEnv* env, sage_java_callback* callback) {
  if (callback == NULL) return;
  (*env)->DeleteGlobalRef(env, callback->object);
  free(callback);
}
static sage_status sage_java_options_set_log(sage_options* options, sage_java_callback* callback, sage_error* err) {
  return sage_options_set_log(options, callback == NULL ? NULL : sage_java_log, callback, err);
}
static sage_status sage_java_options_set_cancel(sage_options* options, sage_java_callback* callback, sage_error* err) {
  return sage_options_set_cancel(options, callback == NULL ? NULL : sage_java_cancel, callback, err);
}

#endif
