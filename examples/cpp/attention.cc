// attention.cc: attention over your own arrays, from C++. This tree links it with the CMake target sage_cpp; by hand:
//   g++ -std=c++20 -I bindings/cpp -I abi attention.cc -L LIBRARY_FOLDER -lsage
#include <cstdio>
#include <sage.hpp>

int main() {
  try {
    const sage::Engine engine;

    // One call: 8 query heads over 2 of K and V, 512 tokens, causal; [batch, heads, tokens, 64].
    sage::AttentionShape shape;
    shape.heads_q = 8, shape.heads_kv = 2, shape.seq_q = shape.seq_kv = 512, shape.dim_qk = 64;
    shape.causal = sage::Causal::kTopLeft;
    std::vector<float> q(8 * 512 * 64, 0.1f), k(2 * 512 * 64, 0.2f), v(2 * 512 * 64, 0.3f), o(q.size());
    engine.attention<float>(shape, q, k, v, o);
    std::printf("o[0] = %g\n", static_cast<double>(o[0]));

    // The same with a window of 128 keys, planned once and run as often as you like.
    sage::AttentionOp op(sage::Tensor(q, {1, 8, 512, 64}), sage::Tensor(k, {1, 2, 512, 64}),
                         sage::Tensor(v, {1, 2, 512, 64}), sage::Tensor(o, {1, 8, 512, 64}));
    op.causal(sage::Causal::kTopLeft).window(127, std::nullopt);
    const sage::AttentionPlan plan(engine, op);
    sage::AttentionContext context(plan);
    for (int i = 0; i < 3; ++i) context.run(op);
    std::printf("ran on %s\n", plan.backend().c_str());
  } catch (const sage::Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.status_name(), error.what());
    return 1;
  }
}
