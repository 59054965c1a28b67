// lines_neon.cc: the line kernels on NEON, the baseline of aarch64.
#include <arm_neon.h>
#include <string.h>

#include "lines.h"

namespace sage::cpu {
namespace {
#include "vec_neon.inc.h"
// The kernels are written over these.
#include "lines.inc.h"
}  // namespace

extern const LineKernels kLinesNeon = {LineLoad,    LineStore,  LineUnary,  LineBinary,   LineSum,      LineSumSquares,
                                       LineExtreme, LineExpSum, LineAffine, LineUnaryF32, LineBinaryF32};

}  // namespace sage::cpu
