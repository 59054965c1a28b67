// attend.cc: attend.c through sage.hpp.
#include <cstdio>
#include <sage.hpp>

int main() {
  const sage::Engine engine;
  sage::AttentionShape shape;
  shape.seq_q = shape.seq_kv = 2, shape.dim_qk = 2, shape.causal = sage::Causal::kTopLeft;
  const std::vector<float> q{1, 0, 0, 1}, k = q, v{1, 2, 3, 4};
  std::vector<float> o(4);
  engine.attention<float>(shape, q, k, v, o);
  std::printf("sage %s: %g %g, backends", sage::version().c_str(), static_cast<double>(o[0]),
              static_cast<double>(o[1]));
  for (const std::string& name : engine.backends()) std::printf(" %s", name.c_str());
  std::printf("\n");
}
