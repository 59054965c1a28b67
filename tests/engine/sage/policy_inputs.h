// policy_inputs.h: what the tests of the policies share: seeded random numbers, and softmax as the book has it.
#ifndef SAGE_TESTS_ENGINE_SAGE_POLICY_INPUTS_H_
#define SAGE_TESTS_ENGINE_SAGE_POLICY_INPUTS_H_

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace sage::test {

inline std::vector<double> Softmax(const std::vector<double>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> out;
  double sum = 0;
  for (const double logit : logits) out.push_back(std::exp(logit - top)), sum += out.back();
  for (double& p : out) p /= sum;
  return out;
}

inline std::vector<double> Draw(std::mt19937& random, size_t n, double low = 0, double high = 1) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> out(n);
  for (double& value : out) value = uniform(random);
  return out;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_ENGINE_SAGE_POLICY_INPUTS_H_
