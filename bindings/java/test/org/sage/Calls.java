// What a call costs: nanoseconds of the plain attention call and of a context's run, of one query, one key, width 8.
package org.sage;

public final class Calls {
  private Calls() {}

  public static void main(String[] arguments) {
    int rounds = Integer.parseInt(arguments[0]);
    int iterations = Integer.parseInt(arguments[1]);
    try (Engine engine = Engine.open(new Options().set("threads", "1"))) {
      Tensor[] t = new Tensor[4];
      for (int i = 0; i < 4; ++i) t[i] = Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 1, 1, 1, 8);
      AttentionShape shape = new AttentionShape().dim(8);
      AttentionOp op = new AttentionOp(t[0], t[1], t[2], t[3]);
      try (AttentionPlan plan = new AttentionPlan(engine, op); AttentionContext context = new AttentionContext(plan)) {
        flat(engine, shape, t, iterations);
        run(context, op, iterations);
        for (int round = 0; round < rounds; ++round)
          System.out.println("flat " + flat(engine, shape, t, iterations) + " run " + run(context, op, iterations));
      }
    }
  }

  private static long flat(Engine engine, AttentionShape shape, Tensor[] t, int iterations) {
    long begin = System.nanoTime();
    for (int i = 0; i < iterations; ++i) engine.attention(shape, t[0], t[1], t[2], t[3]);
    return (System.nanoTime() - begin) / iterations;
  }

  private static long run(AttentionContext context, AttentionOp op, int iterations) {
    long begin = System.nanoTime();
    for (int i = 0; i < iterations; ++i) context.run(op);
    return (System.nanoTime() - begin) / iterations;
  }
}
