// lines_avx2.cc: the line kernels on AVX2. Entered only where CPUID and XGETBV allow it.
#include <immintrin.h>
#include <string.h>

#include "lines.h"

namespace sage::cpu {
namespace {
#include "vec_avx2.inc.h"
// The kernels are written over these.
#include "lines.inc.h"
}  // namespace

extern const LineKernels kLinesAvx2 = {LineLoad,    LineStore,  LineUnary,  LineBinary,   LineSum,      LineSumSquares,
                                       LineExtreme, LineExpSum, LineAffine, LineUnaryF32, LineBinaryF32};

}  // namespace sage::cpu
