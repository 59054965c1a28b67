// open_beneath.h: opens a file that lies beneath a folder, whatever links a stranger has put there.
//
// The kernel can say so in one call (openat2, Linux 5.6); where it cannot, or a sandbox forbids that call, the path is
// walked part by part and no link is followed at all. Both are here by name, so that a test can hold them against the
// same traps; OpenBeneath takes the first that works.
#ifndef SAGE_ENGINE_MODEL_OPEN_BENEATH_H_
#define SAGE_ENGINE_MODEL_OPEN_BENEATH_H_

#include <string>

#include "descriptor.h"

namespace sage {

// folder: an open folder (O_PATH is enough). relative: has passed CheckWeightPath. Read-only, never hanging on a pipe.
// A descriptor of -1 means failed, with errno set: EXDEV or ELOOP where a link leads out (or, walking, anywhere).
Descriptor OpenBeneath(int folder, const std::string& relative);

// errno ENOSYS or EPERM: not on this kernel, or not in this sandbox.
Descriptor OpenBeneathByKernel(int folder, const std::string& relative);
Descriptor OpenBeneathByWalking(int folder, const std::string& relative);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_OPEN_BENEATH_H_
