// library.h: OpenBLAS found, checked and loaded at run time; nothing here is linked.
//
// Only the pthread build will do. The serial one gives wrong products when two threads are in it, and an engine cannot
// promise that no one else in the process calls it; the OpenMP one brings a second thread pool's runtime.
// The library is never unloaded: its threads and their keys outlive any owner.
#ifndef SAGE_PLUGINS_OPENBLAS_LIBRARY_H_
#define SAGE_PLUGINS_OPENBLAS_LIBRARY_H_

#include <cstdint>
#include <string>

namespace sage::openblas {

// CBLAS, as OpenBLAS with 32-bit integers has it: order, transposes, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc.
inline constexpr int kRowMajor = 101, kColumnMajor = 102, kNoTranspose = 111, kTranspose = 112;
template <class T>
using Gemm = void (*)(int, int, int, int, int, int, T, const T*, int, const T*, int, T, T*, int);

struct Library {
  Gemm<float> sgemm = nullptr;
  Gemm<double> dgemm = nullptr;
  void (*set_num_threads)(int) = nullptr;
  std::string path;    // as opened
  std::string config;  // the library's own description
};

// The paths tried, in order, null at the end: the pthread folders of Debian's architectures, then the bare name.
const char* const* DefaultCandidates();

// Opens the first candidate that is there and is a pthread build. False: *why says what was found instead, and what to
// install. Starts the library's threads.
bool LoadLibrary(const char* const* candidates, Library* out, std::string* why);

// As good an answer as there is without loading: a file in a folder of pthread builds is taken for one. Otherwise the
// library is loaded to be asked.
bool LibraryIsThere(const char* const* candidates, std::string* why);

}  // namespace sage::openblas

#endif  // SAGE_PLUGINS_OPENBLAS_LIBRARY_H_
