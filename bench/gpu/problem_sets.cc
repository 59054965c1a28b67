// problem_sets.cc: memory, data and answers of an attention problem on a device.
#include "problem_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "plan/elements.h"
#include "sage/attention.h"
#include "sage/support/check_op.h"

namespace sage::bench {
namespace {

constexpr uint64_t kAlign = 256;

uint64_t Aligned(uint64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

Status Invalid(std::string words) { return Status(SAGE_E_INVALID_ARGUMENT, std::move(words)); }

bool IsServed(uint32_t slot) {
  return slot == SAGE_ATTN_Q || slot == SAGE_ATTN_K || slot == SAGE_ATTN_V || slot == SAGE_ATTN_O ||
         slot == SAGE_ATTN_BLOCK_TABLE || slot == SAGE_ATTN_SEQUSED_K;
}

// Elements whose exponent has every bit set: NaN and Inf. By bits, as an output has a hundred million.
template <class Bits>
uint64_t CountExponents(const std::vector<char>& bytes, Bits exponent) {
  uint64_t count = 0;
  for (size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits = 0;
    std::memcpy(&bits, &bytes[at], sizeof bits);
    count += (bits & exponent) == exponent ? 1 : 0;
  }
  return count;
}

uint64_t NotFinite(const std::vector<char>& bytes, sage_dtype dtype) {
  switch (dtype) {
    case SAGE_BF16:
      return CountExponents<uint16_t>(bytes, 0x7F80);
    case SAGE_F16:
      return CountExponents<uint16_t>(bytes, 0x7C00);
    case SAGE_F32:
      return CountExponents<uint32_t>(bytes, 0x7F800000);
    case SAGE_F64:
      return CountExponents<uint64_t>(bytes, 0x7FF0000000000000);
    default:
      return 0;
  }
}

}  // namespace

Result<Pool> LoadPool(Device& device, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.empty()) return Status(SAGE_E_IO, path + ": no numbers can be read from it");
  Pool pool;
  pool.bytes = bytes.size();
  SAGE_ASSIGN_OR_RETURN(pool.memory, Take(device, pool.bytes));
  SAGE_RETURN_IF_ERROR(device.Copy(pool.memory.data(), bytes.data(), pool.bytes));
  SAGE_RETURN_IF_ERROR(device.Wait());
  return pool;
}

Status FillFromPool(Device& device, const Pool& pool, uint64_t element_bytes, uint64_t start, void* to,
                    uint64_t bytes) {
  uint64_t from = start * element_bytes;
  if (pool.bytes % element_bytes != 0 || from >= pool.bytes)
    return Invalid(
        fmt::format("a start of {} in a pool of {} bytes; elements have {}", start, pool.bytes, element_bytes));
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t part = std::min(bytes - done, pool.bytes - from);
    SAGE_RETURN_IF_ERROR(device.Copy(static_cast<char*>(to) + done, pool.memory.data() + from, part));
    done += part, from = 0;
  }
  return {};
}

Result<std::unique_ptr<ProblemSets>> ProblemSets::Make(Device& device, const nlohmann::json& order) {
  std::unique_ptr<ProblemSets> made(new ProblemSets(device));
  SAGE_ASSIGN_OR_RETURN(made->problem_, ParseProblem(order.at("problem").get<std::string>()));
  Problem& problem = *made->problem_;
  if (problem.op.kind != SAGE_OP_ATTENTION) return Invalid("only attention is measured here");
  for (uint32_t slot = 0; slot < problem.pointers.size(); ++slot) {
    if (!problem.Has(slot)) continue;
    sage_tensor& tensor = problem.tensors[slot];
    int64_t begin = 0;
    uint64_t bytes = 0;
    TensorExtent(tensor, &begin, &bytes);
    if (!IsServed(slot) || begin != 0)
      return Invalid(
          fmt::format("slot {} of {}: Q, K, V, O, lengths of K and block tables are filled here, in rows that "
                      "run forwards",
                      slot, order.at("problem").get<std::string>()));
    tensor.device_type = device.type(), tensor.device_id = 0, tensor.data = nullptr;
    made->set_bytes_ += Aligned(bytes);
  }
  problem.Link();
  SAGE_ASSIGN_OR_RETURN(const Pool pool, LoadPool(device, order.at("pool").get<std::string>()));
  const size_t count = order.at("starts").at("q").size();
  if (count == 0) return Invalid("no set of tensors is asked for");
  made->sets_.resize(count);
  for (size_t number = 0; number < count; ++number)
    SAGE_RETURN_IF_ERROR(made->FillSet(made->sets_[number], pool, order, number));
  SAGE_RETURN_IF_ERROR(device.Wait());
  return made;
}

Status ProblemSets::FillSet(Set& set, const Pool& pool, const nlohmann::json& order, size_t number) {
  SAGE_ASSIGN_OR_RETURN(set.memory, Take(device_, set_bytes_));
  set.tensors = problem_->tensors;
  set.slots.assign(problem_->pointers.size(), nullptr);
  char* next = set.memory.data();
  for (uint32_t slot = 0; slot < set.slots.size(); ++slot) {
    if (!problem_->Has(slot)) continue;
    sage_tensor& tensor = set.tensors[slot];
    int64_t begin = 0;
    uint64_t bytes = 0;
    TensorExtent(tensor, &begin, &bytes);
    tensor.data = next;
    set.slots[slot] = &tensor;
    next += Aligned(bytes);
    if (slot == SAGE_ATTN_O) {
      SAGE_RETURN_IF_ERROR(device_.Fill(tensor.data, 0xFF, bytes));
    } else if (slot <= SAGE_ATTN_V) {
      const char* const names[] = {"q", "k", "v"};
      const auto start = order.at("starts").at(names[slot]).at(number).get<uint64_t>();
      SAGE_RETURN_IF_ERROR(FillFromPool(device_, pool, support::DtypeSize(tensor.dtype), start, tensor.data, bytes));
    } else {
      std::vector<int32_t> values(bytes / sizeof(int32_t));
      const int64_t pages = problem_->tensors[SAGE_ATTN_K].shape[0];
      for (size_t n = 0; n < values.size(); ++n)
        values[n] = slot == SAGE_ATTN_SEQUSED_K
                        ? static_cast<int32_t>(problem_->tensors[SAGE_ATTN_K].shape[2])
                        : static_cast<int32_t>((static_cast<int64_t>(n) * order.at("page_step").get<int64_t>() +
                                                order.at("page_start").get<int64_t>()) %
                                               pages);
      SAGE_RETURN_IF_ERROR(device_.Copy(tensor.data, values.data(), bytes));
      SAGE_RETURN_IF_ERROR(device_.Wait());  // values ends here
    }
  }
  return {};
}

Status ProblemSets::Poison(size_t set) {
  int64_t begin = 0;
  uint64_t bytes = 0;
  const sage_tensor& tensor = *sets_[set].slots[SAGE_ATTN_O];
  TensorExtent(tensor, &begin, &bytes);
  return device_.Fill(tensor.data, 0xFF, bytes);
}

Result<nlohmann::ordered_json> ProblemSets::ReadRows(size_t set, const std::vector<int64_t>& rows) {
  const sage_tensor& tensor = *sets_[set].slots[SAGE_ATTN_O];
  int64_t begin = 0;
  uint64_t bytes = 0;
  TensorExtent(tensor, &begin, &bytes);
  if (tensor.rank != 4) return Invalid("packed rows are not read back here");
  std::vector<char> host(bytes);
  SAGE_RETURN_IF_ERROR(device_.Copy(host.data(), tensor.data, bytes));
  SAGE_RETURN_IF_ERROR(device_.Wait());
  const uint64_t size = support::DtypeSize(tensor.dtype);
  const uint64_t not_finite = NotFinite(host, tensor.dtype);
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  const int64_t heads = tensor.shape[1], queries = tensor.shape[2], total = tensor.shape[0] * heads * queries;
  for (const int64_t row : rows) {
    if (row < 0 || row >= total) return Invalid(fmt::format("row {} of {}", row, total));
    const int64_t first = row / queries / heads * tensor.stride[0] + row / queries % heads * tensor.stride[1] +
                          row % queries * tensor.stride[2];
    nlohmann::ordered_json line = nlohmann::ordered_json::array();
    for (int64_t c = 0; c < tensor.shape[3]; ++c) {
      const double value = LoadElement(&host[static_cast<uint64_t>(first + c * tensor.stride[3]) * size], tensor.dtype);
      // JSON has no NaN; not_finite says that there are some.
      if (std::isfinite(value))
        line.push_back(value);
      else
        line.push_back(nullptr);
    }
    values.push_back(std::move(line));
  }
  return nlohmann::ordered_json{{"values", std::move(values)}, {"not_finite", not_finite}};
}

}  // namespace sage::bench
