/* attend.c: one attention, and what ran it: a program that knows nothing of the engine but its headers. */
#include <sage/sage.h>
#include <stdio.h>

int main(void) {
  sage_error error = {.struct_size = sizeof error};
  sage_engine* engine = NULL;
  if (sage_engine_create(NULL, &engine, &error) != SAGE_OK) return fprintf(stderr, "%s\n", error.message), 1;
  const float q[4] = {1, 0, 0, 1}, k[4] = {1, 0, 0, 1}, v[4] = {1, 2, 3, 4};
  float o[4] = {0};
  if (sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 2, 2, 2, 2, q, k, v, o, SAGE_ALIGN_TOP_LEFT, 0, &error) != SAGE_OK)
    return fprintf(stderr, "%s\n", error.message), 1;
  printf("sage %s: %g %g, backends", sage_version(), (double)o[0], (double)o[1]);
  for (uint32_t i = 0; i < sage_engine_backend_count(engine); ++i) printf(" %s", sage_engine_backend_name(engine, i));
  printf("\n");
  sage_engine_destroy(engine);
  return 0;
}
