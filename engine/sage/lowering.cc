// lowering.cc: op graphs for the three SAGE graphs, made by hand as any program could.
#include "sage/lowering.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "sage/number.h"
#include "sage/random.h"
#include "sage/rows.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

enum Which : uint32_t { kQ = 0, kK = 1, kV = 2, kO = 3 };
constexpr const char* kProjectionNames[] = {"q_proj", "k_proj", "v_proj", "o_proj"};

const std::optional<ProjectionWeights>& FileWeights(const SageAttention& attention, uint32_t which) {
  const std::optional<ProjectionWeights>* all[] = {&attention.q_proj, &attention.k_proj, &attention.v_proj,
                                                   &attention.o_proj};
  return *all[which];
}

bool HasBias(const SageAttention& attention, uint32_t which) {
  const auto& weights = FileWeights(attention, which);
  return attention.weights == WeightSource::kFile && weights.has_value() && weights->bias.has_value();
}

// Whether rows that feed k (and, in fusion, v) carry the column of ones.
bool KeyRowsHaveOnes(const SageAttention& attention) { return HasBias(attention, kK) || HasBias(attention, kV); }

class GraphMaker {
 public:
  GraphMaker(const char* name, const SageAttention& attention, const AttentionPolicy& policy, sage_dtype dtype,
             uint64_t max_bytes)
      : name_(name), attention_(attention), dtype_(dtype), max_bytes_(max_bytes) {
    graph_.policy = policy;
  }

  std::string NodeName(const char* node) const { return name_ + "." + node; }

  Dim Size(const GraphSize& size) {
    if (size.symbol == nullptr) return {size.max, kNone};
    for (size_t i = 0; i < graph_.symbols.size(); ++i) {
      if (graph_.symbols[i].name == size.symbol) return {0, static_cast<int32_t>(i)};
    }
    graph_.symbols.push_back({size.symbol, size.max});
    return {0, static_cast<int32_t>(graph_.symbols.size() - 1)};
  }

  int32_t Tensor(std::string name) {
    graph_.tensors.push_back({std::move(name), std::nullopt, std::nullopt, std::nullopt});
    return static_cast<int32_t>(graph_.tensors.size() - 1);
  }

  // An input; returns its tensor, *number gets its place among the inputs.
  int32_t Input(std::string name, sage_dtype dtype, std::vector<Dim> shape, int32_t* number) {
    const int32_t tensor = Tensor(std::move(name));
    graph_.tensors.back().dtype = dtype;
    graph_.tensors.back().shape = std::move(shape);
    *number = static_cast<int32_t>(graph_.inputs.size());
    graph_.inputs.push_back(tensor);
    return tensor;
  }

  // y = W x, with the bias as W's last column where the rows carry a one for it, else in its slot.
  Result<int32_t> Linear(uint32_t which, int32_t x, int64_t out, int64_t in, bool rows_have_ones) {
    SAGE_ASSIGN_OR_RETURN(const int32_t weight, Matrix(which, out, in, rows_have_ones));
    int32_t bias = kNone;
    if (!rows_have_ones && HasBias(attention_, which)) {
      SAGE_ASSIGN_OR_RETURN(bias, Matrix(which, out, in, false, true));
    }
    const int32_t y = Tensor(std::string(kProjectionNames[which]) + "_out");
    Node node;
    node.name = NodeName(kProjectionNames[which]);
    node.kind = SAGE_OP_LINEAR;
    node.slots = {x, weight, bias, y};
    node.attributes = sage_linear_attributes{sizeof(sage_linear_attributes), SAGE_FN_IDENTITY};
    graph_.nodes.push_back(std::move(node));
    return y;
  }

  Graph& graph() { return graph_; }
  std::shared_ptr<const Graph> Finish() { return std::make_shared<const Graph>(std::move(graph_)); }

 private:
  // Elements first, first + 1, ... of the matrix as the model has it.
  void Elements(uint32_t which, const ProjectionWeights* file, int64_t first, std::span<double> out) const {
    if (file == nullptr) return SeededWeights(attention_, which, first, out);
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = LoadNumber(file->weight_dtype, file->weight.data, first + static_cast<int64_t>(i));
    }
  }

  Result<int32_t> Matrix(uint32_t which, int64_t out, int64_t in, bool ones, bool only_bias = false) {
    const ProjectionWeights* file = nullptr;
    const auto refuse = [&](const std::string& why) {
      return Status(SAGE_E_BAD_DATA, "attention." + std::string(kProjectionNames[which]) + ": " + why);
    };
    if (attention_.weights == WeightSource::kFile) {
      const auto& given = FileWeights(attention_, which);
      if (!given.has_value()) return refuse("is missing; weights FILE needs it");
      file = &*given;
      const auto fits = [](const Constant& constant, sage_dtype dtype, int64_t elements) {
        int64_t bytes = 0;
        return LargestFinite(dtype) > 0 && constant.data != nullptr &&
               !__builtin_mul_overflow(elements, static_cast<int64_t>(support::DtypeSize(dtype)), &bytes) &&
               constant.bytes == static_cast<uint64_t>(bytes);
      };
      int64_t elements = 0;
      if (__builtin_mul_overflow(out, in, &elements) || !fits(file->weight, file->weight_dtype, elements) ||
          (file->bias.has_value() && !fits(*file->bias, file->bias_dtype, out))) {
        return refuse("does not fit [" + std::to_string(out) + ", " + std::to_string(in) + "] of a float type");
      }
    }
    const int32_t tensor = Tensor(std::string(kProjectionNames[which]) + (only_bias ? ".bias" : ".weight"));
    const int64_t columns = only_bias ? 1 : in + (ones ? 1 : 0);
    GraphTensor& made = graph_.tensors.back();
    made.dtype = dtype_;
    made.shape = only_bias ? std::vector<Dim>{{out, kNone}} : std::vector<Dim>{{out, kNone}, {columns, kNone}};
    // What already has the right type and no extra column is used where it lies.
    if (file != nullptr && !ones && (only_bias ? file->bias_dtype : file->weight_dtype) == dtype_) {
      made.constant = only_bias ? *file->bias : file->weight;
      return tensor;
    }
    int64_t elements = 0, bytes = 0;
    if (__builtin_mul_overflow(out, columns, &elements) ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(support::DtypeSize(dtype_)), &bytes) ||
        static_cast<uint64_t>(bytes) > max_bytes_) {
      return Status(SAGE_E_OUT_OF_MEMORY, "attention." + std::string(kProjectionNames[which]) + ": a matrix of " +
                                              std::to_string(out) + " x " + std::to_string(columns) +
                                              " is above the limit of " + std::to_string(max_bytes_) +
                                              " bytes; make d_model or the heads smaller, or raise max_memory");
    }
    auto memory = std::make_shared<std::vector<char>>(static_cast<size_t>(bytes));
    std::vector<double> line(static_cast<size_t>(columns));
    for (int64_t row = 0; row < out; ++row) {
      if (!only_bias) Elements(which, file, row * in, std::span(line).first(static_cast<size_t>(in)));
      if (only_bias || ones) {
        const bool given = file != nullptr && file->bias.has_value();
        line.back() = given ? LoadNumber(file->bias_dtype, file->bias->data, row) : 0;
      }
      StoreNumbers(dtype_, memory->data(), row * columns, line);
    }
    made.constant = Constant{memory->data(), static_cast<uint64_t>(bytes), memory};
    return tensor;
  }

  std::string name_;
  const SageAttention& attention_;
  sage_dtype dtype_;
  uint64_t max_bytes_;
  Graph graph_;
};

void RawRow(std::span<const double> embedding, std::span<double> out) {
  std::copy(embedding.begin(), embedding.end(), out.begin());
  if (out.size() > embedding.size()) out[embedding.size()] = 1;
}

}  // namespace

void SeededWeights(const SageAttention& attention, uint32_t which, int64_t first, std::span<double> out) {
  const double bound = 1 / std::sqrt(static_cast<double>(attention.d_model));
  uint32_t words[256];
  // Whole blocks of four are drawn, from the one that `first` lies in; what stands before it is not used.
  size_t unused = static_cast<size_t>(first % 4);
  uint64_t block = static_cast<uint64_t>(first) / 4;
  for (size_t done = 0; done < out.size();) {
    const size_t count = std::min(std::size(words) - unused, out.size() - done);
    PhiloxWords(attention.weight_seed, block, RandomStream::kWeights, which,
                std::span(words).first((unused + count + 3) / 4 * 4));
    // From [0, 2^32) to [-1, 1): exact in double.
    for (size_t i = 0; i < count; ++i) {
      out[done + i] = bound * (static_cast<double>(static_cast<int32_t>(words[unused + i] ^ 0x80000000u)) * 0x1p-31);
    }
    done += count;
    block += std::size(words) / 4;
    unused = 0;
  }
}

int64_t QueryWidth(const SageAttention& attention) {
  return attention.weights == WeightSource::kIdentity ? attention.query_heads * attention.head_dim
                                                      : attention.d_model + (HasBias(attention, kQ) ? 1 : 0);
}

int64_t KeyWidth(const SageAttention& attention) {
  return attention.weights == WeightSource::kIdentity ? attention.kv_heads * attention.head_dim
                                                      : attention.d_model + (KeyRowsHaveOnes(attention) ? 1 : 0);
}

void ProjectQuery(const SageAttention& attention, std::span<const double> embedding, std::span<double> out) {
  if (embedding.empty()) return std::fill(out.begin(), out.end(), 0.0);
  if (attention.weights != WeightSource::kIdentity) return RawRow(embedding, out);
  const auto d = static_cast<size_t>(attention.head_dim);
  const auto heads = static_cast<size_t>(attention.query_heads / attention.kv_heads);
  GroupSlices(attention, embedding, out.data(), heads * d);
  for (size_t begin = 0; begin < out.size(); begin += heads * d) {
    for (size_t h = 1; h < heads; ++h) std::copy_n(&out[begin], d, &out[begin + h * d]);
  }
}

void ProjectKey(const SageAttention& attention, std::span<const double> embedding, std::span<double> out) {
  if (embedding.empty()) return std::fill(out.begin(), out.end(), 0.0);
  if (attention.weights != WeightSource::kIdentity) return RawRow(embedding, out);
  GroupSlices(attention, embedding, out.data(), static_cast<size_t>(attention.head_dim));
}

Result<LoweredAttention> LowerAttention(const SageAttention& attention, const AttentionPolicy& policy,
                                        const LoweringForm& form, uint64_t max_bytes) {
  const bool identity = attention.weights == WeightSource::kIdentity;
  if (identity && attention.query_heads * attention.head_dim != attention.d_model) {
    return Status(SAGE_E_BAD_DATA, "attention: IDENTITY weights slice d_model " + std::to_string(attention.d_model) +
                                       " into query_heads x head_dim = " + std::to_string(attention.query_heads) +
                                       " x " + std::to_string(attention.head_dim) + "; they must be equal");
  }
  LoweredAttention out;
  out.form = form;
  out.dtype = form.content ? attention.dtype : SAGE_F64;
  out.wide_dtype = out.dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32;
  GraphMaker make(form.name, attention, policy, out.dtype, max_bytes);
  const Dim batch = make.Size(form.batch), queries = make.Size(form.queries), keys = make.Size(form.keys);
  const auto width = [](int64_t size) { return Dim{size, kNone}; };

  // Heads: without content they are all alike, so one does, unless projected values need theirs.
  const bool model_heads = form.content || (form.values && !identity);
  const int64_t query_heads = model_heads ? attention.query_heads : form.prior_heads;
  const int64_t kv_heads = model_heads ? attention.kv_heads : form.prior_heads;
  out.heads = query_heads;
  out.distinct_heads = form.content || form.bias_by_head ? query_heads : 1;

  out.q_width = form.content ? QueryWidth(attention) : query_heads;
  out.k_width = !form.content         ? kv_heads
                : form.keys_projected ? attention.kv_heads * attention.head_dim
                                      : KeyWidth(attention);
  int32_t q = make.Input("q", out.dtype, {batch, queries, width(out.q_width)}, &out.q);
  int32_t k = make.Input("k", out.dtype, {batch, keys, width(out.k_width)}, &out.k);
  const int32_t k_rows = k;
  if (form.content && !identity) {
    SAGE_ASSIGN_OR_RETURN(
        q, make.Linear(kQ, q, attention.query_heads * attention.head_dim, attention.d_model, HasBias(attention, kQ)));
    if (!form.keys_projected) {
      SAGE_ASSIGN_OR_RETURN(k, make.Linear(kK, k, attention.kv_heads * attention.head_dim, attention.d_model,
                                           KeyRowsHaveOnes(attention)));
    }
  }

  // Weights only: V = K costs no memory and no input, and what is fused from it is not looked at.
  int32_t v = k;
  int64_t value_heads = kv_heads;
  if (form.values) {
    int32_t rows = k_rows;
    if (identity || !form.content) {
      out.v_width = identity ? attention.d_model : KeyWidth(attention);
      rows = make.Input("v", out.dtype, {batch, keys, width(out.v_width)}, &out.v);
    }
    v = rows;
    value_heads = identity ? query_heads : kv_heads;  // raw slices: every query head its own
    if (!identity) {
      SAGE_ASSIGN_OR_RETURN(v, make.Linear(kV, rows, attention.kv_heads * attention.head_dim, attention.d_model,
                                           KeyRowsHaveOnes(attention)));
    }
  }

  const int32_t bias = make.Input(
      "bias", out.wide_dtype,
      {batch, width(form.bias_by_head ? query_heads : 1), form.bias_by_query ? queries : width(1), keys}, &out.bias);
  const int32_t weights = make.Tensor("weights");
  const int32_t attended = make.Tensor(form.values && identity ? "fused" : "attended");
  Node node;
  node.name = make.NodeName("attention");
  node.kind = SAGE_OP_ATTENTION;
  node.slots.assign(SAGE_ATTN_NUM_SLOTS, kNone);
  node.slots[SAGE_ATTN_Q] = q;
  node.slots[SAGE_ATTN_K] = k;
  node.slots[SAGE_ATTN_V] = v;
  node.slots[SAGE_ATTN_O] = attended;
  node.slots[SAGE_ATTN_BIAS] = bias;
  node.slots[SAGE_ATTN_WEIGHTS] = weights;
  AttentionNode attributes;
  attributes.layout = Layout::kBSE;
  attributes.query_heads = query_heads;
  attributes.kv_heads = kv_heads;
  attributes.value_heads = value_heads;
  attributes.attributes.struct_size = sizeof(sage_attention_attributes);
  attributes.attributes.features = SAGE_ATTN_F_SCALE | (form.causal ? SAGE_ATTN_F_CAUSAL : 0);
  attributes.attributes.alignment = form.causal ? SAGE_ALIGN_TOP_LEFT : 0;
  attributes.attributes.scale = form.content ? attention.gamma * attention.scale : 1;
  node.attributes = attributes;
  make.graph().nodes.push_back(std::move(node));
  make.graph().outputs = {weights};

  if (form.values) {
    int32_t fused = attended;
    if (!identity) {
      SAGE_ASSIGN_OR_RETURN(
          fused, make.Linear(kO, attended, attention.d_model, attention.query_heads * attention.head_dim, false));
      make.graph().tensors[static_cast<size_t>(fused)].name = "fused";
    }
    out.fused_width = attention.d_model;
    make.graph().outputs.push_back(fused);
  }
  out.graph = make.Finish();
  return out;
}

Result<LoweredAttention> LowerKeyProjection(const SageAttention& attention, const AttentionPolicy& policy,
                                            const char* name, GraphSize batch, int64_t keys, uint64_t max_bytes) {
  LoweredAttention out;
  out.dtype = out.wide_dtype = attention.dtype;
  GraphMaker make(name, attention, policy, out.dtype, max_bytes);
  out.k_width = KeyWidth(attention);
  const Dim rows = make.Size(batch);
  const int32_t x = make.Input("experts", out.dtype, {rows, Dim{keys, kNone}, Dim{out.k_width, kNone}}, &out.k);
  SAGE_ASSIGN_OR_RETURN(const int32_t k, make.Linear(kK, x, attention.kv_heads * attention.head_dim, attention.d_model,
                                                     KeyRowsHaveOnes(attention)));
  make.graph().outputs = {k};
  out.graph = make.Finish();
  return out;
}

}  // namespace sage
