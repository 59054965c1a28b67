/* It starts a thread that outlives everything, and declares none. */
#define _DEFAULT_SOURCE
#define NAME "starts_thread"
#define ON_CREATE   \
  pthread_t thread; \
  if (pthread_create(&thread, NULL, forever, NULL) == 0) pthread_detach(thread);
#include <pthread.h>
#include <unistd.h>
static void* forever(void* nothing) {
  while (nothing == NULL) pause();
  return NULL;
}
#include "honest.h"
