// workspace_layout.h: what lies where in a workspace, each part at a multiple of 64 bytes.
#ifndef SAGE_PLUGINS_CPU_WORKSPACE_LAYOUT_H_
#define SAGE_PLUGINS_CPU_WORKSPACE_LAYOUT_H_

#include <cmath>
#include <cstdint>

namespace sage::cpu {

// No machine has more; beyond it offsets mean nothing.
constexpr double kMaxWorkspace = 0x1p46;

// Offsets are counted in double as well: sizes come from outside and their products need not fit.
class WorkspaceLayout {
 public:
  uint64_t Take(double count, double size) {
    const uint64_t at = used_;
    const double bytes = std::ceil(count * size / 64) * 64;
    total_ += bytes;
    if (total_ < kMaxWorkspace) used_ += static_cast<uint64_t>(bytes);
    return at;
  }
  double total() const { return total_; }

 private:
  uint64_t used_ = 0;
  double total_ = 0;
};

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_WORKSPACE_LAYOUT_H_
