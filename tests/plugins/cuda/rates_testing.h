// rates_testing.h: boards, calls and files of rates for the tests of what decides between engines of attention.
#ifndef SAGE_TESTS_PLUGINS_CUDA_RATES_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_RATES_TESTING_H_

#include <doctest/doctest.h>

#include <fstream>
#include <optional>
#include <string>

#include "common/cuda/attention_rates.h"
#include "fake_runtime.h"
#include "support/error_slot.h"
#include "support/temporary_folder.h"

namespace sage::cuda {

inline Properties Board(int major, int minor) {
  Properties device = FakeH200();
  device.major = major, device.minor = minor;
  return device;
}

// 64 heads over 8, as most published figures.
inline AttentionArguments Prefill(int32_t length, int32_t dim, bool causal = false) {
  AttentionArguments a;
  a.heads_q = 64, a.heads_k = a.heads_v = 8, a.dim_qk = a.dim_v = dim;
  a.seq_q = a.seq_kv = length;
  a.causal = a.bottom_right = causal;
  return a;
}

inline AttentionArguments Decode(int32_t keys) {
  AttentionArguments a = Prefill(keys, 128);
  a.batch = 32, a.seq_q = 1;
  return a;
}

// A file in a folder of the test's own.
struct RatesFile {
  explicit RatesFile(const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  test::Folder folder;
  std::string path = folder.path + "/rates.txt";
};

inline AttentionRates Loaded(const std::string& text) {
  const RatesFile file(text);
  AttentionRates rates;
  test::Error error;
  CHECK_MESSAGE(LoadRates(file.path, &rates, &error) == SAGE_OK, error.message);
  return rates;
}

inline double ShareOf(const AttentionRates& rates, const char* engine, const AttentionArguments& a,
                      const Properties& device = FakeH200()) {
  const std::optional<Rate> rate = rates.Find(engine, device, a);
  return rate.has_value() ? rate->share : 0;
}

}  // namespace sage::cuda

#endif  // SAGE_TESTS_PLUGINS_CUDA_RATES_TESTING_H_
