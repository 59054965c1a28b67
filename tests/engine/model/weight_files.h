// weight_files.h: safetensors files made by tests, a folder that goes away, and the weights of the example layer.
#ifndef SAGE_TESTS_ENGINE_MODEL_WEIGHT_FILES_H_
#define SAGE_TESTS_ENGINE_MODEL_WEIGHT_FILES_H_

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sage::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sage-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  void Write(const std::string& name, const std::vector<uint8_t>& bytes) const {
    std::ofstream(File(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  std::string path_;
};

// A file of this header (JSON) and these data bytes.
inline std::vector<uint8_t> Safetensors(const std::string& header, const std::vector<uint8_t>& data) {
  std::vector<uint8_t> file;
  for (size_t i = 0; i < 8; ++i) file.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i)));
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

// U(-limit, limit) from a counter, the same everywhere: splitmix64 of the index, its top 24 bits.
inline std::vector<float> Uniform(uint64_t seed, size_t count, float limit) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    uint64_t z = (seed << 32) + i + 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    values[i] = (static_cast<float>(z >> 40) / 8388608.0f - 1.0f) * limit;
  }
  return values;
}

// examples/models/gqa_layer.safetensors: d_model 48, 12 query heads over 4 key and value heads of 4.
inline std::vector<uint8_t> GqaLayerWeights() {
  const struct {
    const char* name;
    size_t rows;
  } arrays[] = {
      {"attn.q_proj.weight", 48}, {"attn.k_proj.weight", 16}, {"attn.v_proj.weight", 16}, {"attn.o_proj.weight", 48}};
  std::string header = "{\"__metadata__\":{\"licence\":\"CC0-1.0\"}";
  std::vector<uint8_t> data;
  uint64_t seed = 1;
  for (const auto& [name, rows] : arrays) {
    const std::vector<float> values = Uniform(seed++, rows * 48, 0.25f);
    const size_t begin = data.size();
    data.resize(begin + values.size() * sizeof(float));
    std::memcpy(data.data() + begin, values.data(), values.size() * sizeof(float));
    header += ",\"" + std::string(name) + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(rows) +
              ",48],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  return Safetensors(header + "}", data);
}

}  // namespace sage::test

#endif  // SAGE_TESTS_ENGINE_MODEL_WEIGHT_FILES_H_
