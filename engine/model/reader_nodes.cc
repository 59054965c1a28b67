// reader_nodes.cc: one node: the file's table of a kind as the engine's attributes and slots.
#include <algorithm>
#include <set>

#include "model/reader.h"
#include "model/slot_names.h"

namespace sage {
namespace {

template <class T>
T Attributes() {
  T attributes{};
  attributes.struct_size = sizeof(T);
  return attributes;
}

}  // namespace

void ModelReader::ReadWindow(flatbuffers::Optional<uint64_t> value, const std::string& path, uint64_t feature,
                             int64_t* to, uint64_t* features) {
  if (!value.has_value()) return;
  if (*value > static_cast<uint64_t>(INT64_MAX)) return Fail(path, "is {}; leave it out for no limit", *value);
  *features |= feature;
  *to = static_cast<int64_t>(*value);
}

void ModelReader::ReadAttention(const fb::Attention& op, const std::string& path, Node* out) {
  const struct {
    uint32_t slot;
    const FbString* name;
  } names[] = {{SAGE_ATTN_Q, op.q()},
               {SAGE_ATTN_K, op.k()},
               {SAGE_ATTN_V, op.v()},
               {SAGE_ATTN_O, op.out()},
               {SAGE_ATTN_LSE, op.lse()},
               {SAGE_ATTN_BIAS, op.bias()},
               {SAGE_ATTN_MASK, op.mask()},
               {SAGE_ATTN_BIT_MASK, op.bit_mask()},
               {SAGE_ATTN_BLOCK_MASK, op.block_mask()},
               {SAGE_ATTN_CSR_INDPTR, op.csr_indptr()},
               {SAGE_ATTN_CSR_INDICES, op.csr_indices()},
               {SAGE_ATTN_ALIBI, op.alibi()},
               {SAGE_ATTN_SINKS, op.sinks()},
               {SAGE_ATTN_CU_SEQLENS_Q, op.cu_seqlens_q()},
               {SAGE_ATTN_CU_SEQLENS_K, op.cu_seqlens_k()},
               {SAGE_ATTN_SEQUSED_Q, op.seqused_q()},
               {SAGE_ATTN_SEQUSED_K, op.seqused_k()},
               {SAGE_ATTN_BLOCK_TABLE, op.block_table()},
               {SAGE_ATTN_K_NEW, op.k_new()},
               {SAGE_ATTN_V_NEW, op.v_new()},
               {SAGE_ATTN_PHILOX, op.philox()},
               {SAGE_ATTN_WEIGHTS, op.weights()},
               {SAGE_ATTN_SCORES, op.scores()}};
  for (const auto& [slot, name] : names) Slot(out, slot, name);

  AttentionNode node;
  sage_attention_attributes& a = node.attributes;
  a = Attributes<sage_attention_attributes>();
  ReadEnum(op.layout(), path + ".layout", &node.layout);
  node.query_heads = op.query_heads();
  node.kv_heads = op.kv_heads();
  node.value_heads = op.value_heads() == 0 ? op.kv_heads() : op.value_heads();
  if (node.layout != Layout::kBSE && (op.query_heads() != 0 || op.kv_heads() != 0 || op.value_heads() != 0))
    Fail(path, "query_heads, kv_heads and value_heads belong to layout BSE; here the shapes say them");
  ReadScaleAndVisibility(op, path, &a);
  a.softcap = op.softcap();
  a.dropout_p = op.dropout_p();
  a.mask_block_q = op.mask_block_q();
  a.mask_block_kv = op.mask_block_kv();
  a.max_seq_q = op.max_seq_q();
  a.max_seq_kv = op.max_seq_kv();

  const struct {
    const char* field;
    const fb::Quant* quant;
    uint32_t slot;
    uint32_t* granularity;
  } quants[] = {{".quant_q", op.quant_q(), SAGE_ATTN_SCALE_Q, &a.granularity_q},
                {".quant_k", op.quant_k(), SAGE_ATTN_SCALE_K, &a.granularity_k},
                {".quant_v", op.quant_v(), SAGE_ATTN_SCALE_V, &a.granularity_v},
                {".quant_p", op.quant_p(), SAGE_ATTN_SCALE_P, &a.granularity_p},
                {".quant_o", op.quant_o(), SAGE_ATTN_SCALE_O, &a.granularity_o}};
  for (const auto& [field, quant, slot, granularity] : quants) {
    if (quant == nullptr) continue;
    Slot(out, slot, quant->scale());
    if (!ReadEnum(quant->granularity(), path + field + ".granularity", granularity)) continue;
    if (quant->granularity() != fb::Granularity::PER_BLOCK) {
      if (quant->block() != 0) Fail(path + field + ".block", "is {}, but granularity is not PER_BLOCK", quant->block());
      continue;
    }
    if (quant->block() == 0) Fail(path + field + ".block", "is missing: PER_BLOCK needs it above 0");
    if (a.scale_block != 0 && quant->block() != 0 && a.scale_block != quant->block())
      Fail(path + field + ".block", "is {}, another operand's is {}; all must agree", quant->block(), a.scale_block);
    a.scale_block = quant->block();
  }
  out->attributes = node;
}

void ModelReader::ReadOp(const fb::Node& node, const std::string& path, Node* out) {
  // The ABI's numbers are the file's; Reshape is the engine's own.
  out->kind = static_cast<uint32_t>(node.op_type());
  if (NodeKindName(out->kind) == nullptr)
    return Fail(path, "op kind {} is not known to this build; a newer sage-engine is needed", out->kind);
  const uint32_t count = NodeSlotCount(out->kind);
  if (count != UINT32_MAX) out->slots.assign(count, kNone);

  switch (node.op_type()) {
    case fb::Op::Attention:
      return ReadAttention(*node.op_as_Attention(), path, out);
    case fb::Op::Linear: {
      const fb::Linear& op = *node.op_as_Linear();
      auto linear = Attributes<sage_linear_attributes>();
      ReadEnum(op.activation(), path + ".activation", &linear.activation);
      out->attributes = linear;
      Slot(out, 0, op.x());
      Slot(out, 1, op.weight());
      Slot(out, 2, op.bias());
      Slot(out, 3, op.out());
      Slot(out, 4, op.scale_x());
      return Slot(out, 5, op.scale_weight());
    }
    case fb::Op::MatMul: {
      const fb::MatMul& op = *node.op_as_MatMul();
      out->attributes = MatMulNode{op.transpose_a(), op.transpose_b()};
      Slot(out, 0, op.a());
      Slot(out, 1, op.b());
      return Slot(out, 2, op.out());
    }
    case fb::Op::Norm: {
      const fb::Norm& op = *node.op_as_Norm();
      auto norm = Attributes<sage_norm_attributes>();
      ReadEnum(op.kind(), path + ".kind", &norm.mode);
      norm.axis = op.axis();
      if (op.epsilon())
        norm.epsilon = *op.epsilon();
      else
        Fail(path + ".epsilon", "is missing: frameworks' defaults differ, so it must be given, 0 included");
      out->attributes = norm;
      Slot(out, 0, op.x());
      Slot(out, 1, op.weight());
      Slot(out, 2, op.bias());
      Slot(out, 3, op.mean());
      Slot(out, 4, op.variance());
      return Slot(out, 5, op.out());
    }
    case fb::Op::Unary: {
      const fb::Unary& op = *node.op_as_Unary();
      auto unary = Attributes<sage_unary_attributes>();
      ReadEnum(op.function(), path + ".function", &unary.function);
      unary.alpha = unary.function == SAGE_FN_ELU ? op.alpha() : 0;
      out->attributes = unary;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::Binary: {
      const fb::Binary& op = *node.op_as_Binary();
      auto binary = Attributes<sage_binary_attributes>();
      ReadEnum(op.function(), path + ".function", &binary.function);
      out->attributes = binary;
      Slot(out, 0, op.a());
      Slot(out, 1, op.b());
      return Slot(out, 2, op.out());
    }
    case fb::Op::Softmax: {
      const fb::Softmax& op = *node.op_as_Softmax();
      auto softmax = Attributes<sage_softmax_attributes>();
      softmax.axis = op.axis();
      out->attributes = softmax;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::Reduce: {
      const fb::Reduce& op = *node.op_as_Reduce();
      ReduceNode reduce;
      ReadEnum(op.function(), path + ".function", &reduce.function);
      reduce.keep_dims = op.keep_dims();
      if (op.axes() != nullptr && op.axes()->size() > SAGE_MAX_RANK)
        Fail(path + ".axes", "has {} numbers, at most {}", op.axes()->size(), SAGE_MAX_RANK);
      else if (op.axes() != nullptr && op.axes()->size() == 0)
        Fail(path + ".axes", "is empty; leave it out to reduce all axes");
      else if (op.axes() != nullptr)
        reduce.axes.assign(op.axes()->begin(), op.axes()->end());
      out->attributes = reduce;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::Gather: {
      const fb::Gather& op = *node.op_as_Gather();
      auto gather = Attributes<sage_gather_attributes>();
      gather.axis = op.axis();
      out->attributes = gather;
      Slot(out, 0, op.x());
      Slot(out, 1, op.indices());
      return Slot(out, 2, op.out());
    }
    case fb::Op::Concat: {
      const fb::Concat& op = *node.op_as_Concat();
      auto concat = Attributes<sage_concat_attributes>();
      concat.axis = op.axis();
      out->attributes = concat;
      Slot(out, 0, op.out());
      if (op.inputs()->size() > 4095) return Fail(path + ".inputs", "has {} names, at most 4095", op.inputs()->size());
      for (uint32_t i = 0; i < op.inputs()->size(); ++i) Slot(out, i + 1, op.inputs()->Get(i));
      return;
    }
    case fb::Op::Slice: {
      const fb::Slice& op = *node.op_as_Slice();
      SliceNode slice{op.axis(), op.start(), std::nullopt, op.step()};
      if (op.end()) slice.end = *op.end();
      out->attributes = slice;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::Permute: {
      const fb::Permute& op = *node.op_as_Permute();
      auto permute = Attributes<sage_permute_attributes>();
      std::fill(std::begin(permute.axes), std::end(permute.axes), kNoAxis);
      const auto size = static_cast<int32_t>(op.permutation()->size());
      if (op.permutation()->size() > SAGE_MAX_RANK) {
        Fail(path + ".permutation", "has {} numbers, at most {}", op.permutation()->size(), SAGE_MAX_RANK);
      } else {
        std::set<int32_t> seen;
        for (int32_t i = 0; i < size; ++i) {
          const int32_t axis = op.permutation()->Get(static_cast<uint32_t>(i));
          if (axis < -size || axis >= size || !seen.insert(axis < 0 ? axis + size : axis).second)
            Fail(path + ".permutation", "must have each of 0 to {} once, {} does not fit", size - 1, axis);
          permute.axes[i] = axis < 0 && axis >= -size ? axis + size : axis;
        }
      }
      out->attributes = permute;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::TopK: {
      const fb::TopK& op = *node.op_as_TopK();
      TopKNode topk;
      topk.attributes = Attributes<sage_topk_attributes>();
      topk.attributes.axis = op.axis();
      topk.attributes.smallest = op.smallest() ? 1 : 0;
      topk.k = static_cast<int64_t>(std::min<uint64_t>(op.k(), INT64_MAX));
      out->attributes = topk;
      Slot(out, 0, op.x());
      Slot(out, 1, op.values());
      Slot(out, 2, op.indices());
      if (op.indices() == nullptr) {  // the ABI always writes them
        std::string name = out->name + ".indices";
        while (tensors_.count(name) != 0) name += "_";
        out->slots[2] = AddTensor(name);
      }
      return;
    }
    case fb::Op::Rope: {
      const fb::Rope& op = *node.op_as_Rope();
      auto rope = Attributes<sage_rope_attributes>();
      if (!op.style()) Fail(path + ".style", "is missing: HALVES (GPT-NeoX, Llama) or INTERLEAVED must be given");
      ReadEnum(op.style(), path + ".style", &rope.style);
      rope.rotary_dim = op.rotary_dim();
      rope.base = op.cos() != nullptr ? 0 : op.base();
      out->attributes = rope;
      Slot(out, 0, op.x());
      Slot(out, 1, op.positions());
      Slot(out, 2, op.cos());
      Slot(out, 3, op.sin());
      return Slot(out, 4, op.out());
    }
    case fb::Op::Pool: {
      const fb::Pool& op = *node.op_as_Pool();
      auto pool = Attributes<sage_pool_attributes>();
      ReadEnum(op.function(), path + ".function", &pool.function);
      pool.window = op.window();
      pool.stride = op.stride();
      pool.pad_begin = op.pad_begin();
      pool.pad_end = op.pad_end();
      out->attributes = pool;
      Slot(out, 0, op.x());
      Slot(out, 1, op.mask());
      return Slot(out, 2, op.out());
    }
    case fb::Op::Reshape: {
      const fb::Reshape& op = *node.op_as_Reshape();
      ReshapeNode reshape;
      (void)ReadDims(op.shape(), path + ".shape", &reshape.shape);
      out->attributes = reshape;
      Slot(out, 0, op.x());
      return Slot(out, 1, op.out());
    }
    case fb::Op::MultiHeadAttention:  // ReadLayer
    case fb::Op::NONE:
      break;
  }
}

}  // namespace sage
