/* fake_openblas.c: a library with OpenBLAS's names, whose build says what FAKE_PARALLEL and FAKE_CONFIG say. */
int openblas_get_parallel(void);
char* openblas_get_config(void);
void openblas_set_num_threads(int n);
void cblas_sgemm(void);
#ifndef FAKE_INCOMPLETE
void cblas_dgemm(void);
#endif

static char config[] = FAKE_CONFIG;
__attribute__((visibility("default"))) int openblas_get_parallel(void) { return FAKE_PARALLEL; }
__attribute__((visibility("default"))) char* openblas_get_config(void) { return config; }
__attribute__((visibility("default"))) void openblas_set_num_threads(int n) { (void)n; }
__attribute__((visibility("default"))) void cblas_sgemm(void) {}
#ifndef FAKE_INCOMPLETE
__attribute__((visibility("default"))) void cblas_dgemm(void) {}
#endif
