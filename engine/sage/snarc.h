// snarc.h: five numbers and weights make one salience. What the five mean to a sensor is the caller's business.
#ifndef SAGE_ENGINE_SAGE_SNARC_H_
#define SAGE_ENGINE_SAGE_SNARC_H_

#include <algorithm>

#include "model/sage_params.h"

namespace sage {

struct Snarc {
  double surprise = 0, novelty = 0, arousal = 0, reward = 0, conflict = 0;  // each in [0,1]
};

// In [0,1]: weights that sum to more than 1 are the model's choice, the clamp keeps what follows defined.
inline double SnarcSalience(const SnarcWeights& weights, const Snarc& snarc) {
  return std::clamp(weights.surprise * snarc.surprise + weights.novelty * snarc.novelty +
                        weights.arousal * snarc.arousal + weights.reward * snarc.reward +
                        weights.conflict * snarc.conflict,
                    0.0, 1.0);
}

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_SNARC_H_
