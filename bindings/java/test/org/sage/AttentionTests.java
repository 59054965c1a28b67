// Attention through every form of call, and its errors.
package org.sage;

import static org.sage.Check.equal;
import static org.sage.Check.isTrue;
import static org.sage.Check.refused;
import static org.sage.Check.test;
import static org.sage.Check.thrown;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;

final class AttentionTests {
  static final AttentionShape SHAPE = new AttentionShape().batch(2).heads(4, 2).sequence(5, 7).dim(8)
      .causal(Alignment.BOTTOM_RIGHT).scale(0.25);
  static final float[] Q = normal(2 * 4 * 5 * 8, 1);
  static final float[] K = normal(2 * 2 * 7 * 8, 2);
  static final float[] V = normal(2 * 2 * 7 * 8, 3);

  private AttentionTests() {}

  static float[] normal(int n, long seed) {
    Random random = new Random(seed);
    float[] values = new float[n];
    for (int i = 0; i < n; ++i) values[i] = (float) random.nextGaussian();
    return values;
  }

  static AttentionOp op() {
    return new AttentionOp(Tensor.of(Q, 2, 4, 5, 8), Tensor.of(K, 2, 2, 7, 8), Tensor.of(V, 2, 2, 7, 8),
        Tensor.allocate(DType.F32, 2, 4, 5, 8));
  }

  static float[] flat(Engine engine) {
    float[] o = new float[Q.length];
    engine.attention(SHAPE, Q, K, V, o);
    return o;
  }

  static void run() {
    test("arrays, tensors and a plan give the same bits, on one thread and on two", () -> {
      float[] want;
      try (Engine engine = Engine.open(new Options().set("threads", "1"))) {
        want = flat(engine);
        isTrue(want[0] != 0, "nothing was written");
      }
      try (Engine engine = Engine.open(new Options().set("threads", "2"))) {
        equal(flat(engine), want);
        Tensor o = Tensor.allocate(DType.F32, Q.length);
        engine.attention(SHAPE, Tensor.of(Q, Q.length), Tensor.of(K, K.length), Tensor.of(V, V.length), o);
        equal(o.toFloatArray(), want);
        AttentionOp op = op().causal(Alignment.BOTTOM_RIGHT).scale(0.25);
        try (AttentionPlan plan = new AttentionPlan(engine, op);
            AttentionContext context = new AttentionContext(plan)) {
          context.run(op);
          equal(op.slot(Slot.O).toFloatArray(), want);
          isTrue(!plan.backend().isEmpty() && plan.explain().contains("\"chosen\""), plan.explain());
          equal(plan.memory().q, 4L * Q.length);
          isTrue(plan.memory().totalsRatio > 0, "no ratio");
        }
        equal(op.features() & (Constants.SAGE_ATTN_F_CAUSAL | Constants.SAGE_ATTN_F_GQA), Constants.SAGE_ATTN_F_CAUSAL
            | Constants.SAGE_ATTN_F_GQA);
      }
    });
    test("double precision, and the other layout", () -> {
      try (Engine engine = Engine.open()) {
        double[] ones = new double[6];
        Arrays.fill(ones, 0.5);
        double[] o = new double[6];
        engine.attention(new AttentionShape().sequence(3, 3).dim(2), ones, ones, ones, o);
        for (double x : o) isTrue(Math.abs(x - 0.5) < 1e-15, "not 0.5: " + x);
        // With one head both layouts are the same memory.
        AttentionShape shape = new AttentionShape().sequence(5, 5).dim(8);
        float[] a = new float[40];
        float[] b = new float[40];
        float[] x = normal(40, 9);
        engine.attention(shape, x, x, x, a);
        engine.attention(new AttentionShape().sequence(5, 5).dim(8).layout(Layout.BSHD), x, x, x, b);
        equal(b, a);
      }
    });
    test("buffers at odd offsets give the same bits", () -> {
      try (Engine engine = Engine.open()) {
        float[] want = flat(engine);
        for (int place : new int[] {1, 4, 20}) {
          Tensor[] t = new Tensor[4];
          float[][] data = {Q, K, V, new float[Q.length]};
          for (int i = 0; i < 4; ++i) {
            ByteBuffer memory = ByteBuffer.allocateDirect(4 * data[i].length + 128).alignedSlice(64);
            memory.position(place).limit(place + 4 * data[i].length);
            t[i] = Tensor.wrap(DType.F32, memory, data[i].length);
            t[i].floats().put(data[i]);
          }
          engine.attention(SHAPE, t[0], t[1], t[2], t[3]);
          equal(t[3].toFloatArray(), want);
        }
      }
    });
    test("a window is what its mask is; the masks of a partition agree", () -> {
      try (Engine engine = Engine.open()) {
        AttentionOp windowed = op().align(Alignment.BOTTOM_RIGHT).window(1L, 0L);
        byte[] keep = new byte[35];
        for (int i = 0; i < 5; ++i) for (int j = 0; j < 7; ++j) keep[i * 7 + j] = (byte) (j + 1 >= i + 2 && j <= i + 2
            ? 1 : 0);
        AttentionOp masked = op().slot(Slot.MASK, Tensor.of(DType.BOOL, keep, 1, 1, 5, 7).broadcast(2, 4, 5, 7));
        equal(once(engine, masked), once(engine, windowed));

        float[] x = normal(32 * 8, 5);
        Tensor data = Tensor.of(x, 1, 1, 32, 8);
        AttentionOp byMask = new AttentionOp(data, data, data, Tensor.allocate(DType.F32, 1, 1, 32, 8))
            .slot(Slot.MASK, Mincut.mask(32, 4));
        Mincut.Csr csr = Mincut.csr(32, 4, 1, 1);
        AttentionOp byCsr = new AttentionOp(data, data, data, Tensor.allocate(DType.F32, 1, 1, 32, 8))
            .slot(Slot.CSR_INDPTR, csr.indptr()).slot(Slot.CSR_INDICES, csr.indices()).maskBlock(1, 1);
        float[] a = once(engine, byMask);
        float[] b = once(engine, byCsr);
        for (int i = 0; i < a.length; ++i) isTrue(Math.abs(a[i] - b[i]) < 1e-5, "masks disagree at " + i);
        equal(Mincut.blocks(32, 4, 8, 8).shape(), new long[] {1, 1, 4, 4});
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "tiles of 0", () -> Mincut.blocks(8, 2, 0, 4));
      }
    });
    test("keys are appended in place", () -> {
      try (Engine engine = Engine.open()) {
        float[] token = normal(8, 5);
        Tensor one = Tensor.of(token, 1, 1, 1, 8);
        Tensor k = Tensor.allocate(DType.F32, 1, 1, 4, 8);
        AttentionOp op = new AttentionOp(one, k, Tensor.allocate(DType.F32, 1, 1, 4, 8), Tensor.allocate(DType.F32, 1,
            1, 1, 8))
            .append(one, one).slot(Slot.SEQUSED_K, Tensor.of(new int[] {2}, 1));
        once(engine, op);
        equal(Arrays.copyOfRange(k.toFloatArray(), 16, 24), token);
        equal(Arrays.copyOfRange(k.toFloatArray(), 24, 32), new float[8]);
      }
    });
    test("constants are kept for the plan", () -> {
      try (Engine engine = Engine.open()) {
        float[] want = once(engine, op());
        AttentionOp described = new AttentionOp(Tensor.describe(DType.F32, 2, 4, 5, 8),
            Tensor.of(K, 2, 2, 7, 8).constant(), Tensor.of(V, 2, 2, 7, 8).constant(), Tensor.describe(DType.F32, 2, 4,
                5, 8));
        try (AttentionPlan plan = new AttentionPlan(engine, described);
            AttentionContext context = new AttentionContext(plan)) {
          Tensor k = described.slot(Slot.K);
          Tensor v = described.slot(Slot.V);
          described = null;
          AttentionOp op = new AttentionOp(Tensor.of(Q, 2, 4, 5, 8), k, v, Tensor.allocate(DType.F32, 2, 4, 5, 8));
          System.gc();
          context.run(op);
          equal(op.slot(Slot.O).toFloatArray(), want);
        }
      }
    });
    test("what is wrong is said, by this package where memory is at stake, else by the library", () -> {
      try (Engine engine = Engine.open()) {
        float[] o = new float[Q.length];
        equal(thrown(ShapeException.class, () -> engine.attention(SHAPE, Q, K, new float[3], o)).getMessage(),
            "v has 3 elements; its shape says 224");
        thrown(ShapeException.class, () -> engine.attention(new AttentionShape().batch(1L << 62).dim(8), Q, K, V, o));
        thrown(ShapeException.class, () -> engine.attention(new AttentionShape().batch(-1).sequence(-1, -1),
            new float[1], new float[1], new float[1], new float[1]));
        thrown(NullPointerException.class, () -> engine.attention(SHAPE, Q, null, V, o));
        thrown(NullPointerException.class, () -> engine.attention(null, Q, K, V, o));
        Tensor f32 = Tensor.allocate(DType.F32, 8);
        Tensor f64 = Tensor.allocate(DType.F64, 8);
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "they are F32, F64, F32 and F32",
            () -> engine.attention(new AttentionShape().dim(8), f32, f64, f32, f32));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "without memory",
            () -> engine.attention(new AttentionShape().dim(8), f32, f32, f32, Tensor.describe(DType.F32, 8)));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "align", () -> new AttentionPlan(engine, op().window(1L, 1L)));
        refused(Constants.SAGE_E_UNSUPPORTED, "", () -> new AttentionPlan(engine, op(), new Options().set("backend",
            "none")));
        thrown(UnsupportedException.class, () -> new AttentionPlan(engine, op(), new Options().set("backend", "none")));
        refused(Constants.SAGE_E_NOT_FOUND, "no field colour", () -> op().set("colour", 1));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "32 bits", () -> op().set("block_q", 1L << 40));
        // What native code sees where the JVM has no memory for a copy.
        AttentionOp op = op();
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "an array is null", () -> SageNative.op_slot(op.raw(), 0,
            DType.F32.code(), new long[] {1}, null, Constants.SAGE_CPU, 0, 0, 0));
        refused(Constants.SAGE_E_NOT_FOUND, "(null)", () -> SageNative.op_integer(op.raw(), null));
        equal(op.slot(Slot.Q).count(), (long) Q.length);
        thrown(NullPointerException.class, () -> new AttentionPlan(engine, null));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "threads", () -> Engine.open(new Options().set("threads", "many")));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "threads", () -> Engine.open(new Options().set("thread", "1")));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "NUL", () -> Engine.open(new Options().set("threads", "1\0")));
        thrown(NullPointerException.class, () -> new Options().set("threads", null));
        refused(Constants.SAGE_E_NOT_FOUND, "/nowhere/Tür/\uD83D\uDE00.so", () ->
            engine.loadPlugin("/nowhere/Tür/\uD83D\uDE00.so"));
      }
    });
    test("no queries, no keys", () -> {
      try (Engine engine = Engine.open()) {
        engine.attention(new AttentionShape().sequence(0, 3).dim(2), new float[0], new float[6], new float[6],
            new float[0]);
        float[] o = {9, 9};
        engine.attention(new AttentionShape().sequence(1, 0).dim(2), new float[2], new float[0], new float[0], o);
        equal(o, new float[2]);
        Tensor none = Tensor.allocate(DType.F32, 1, 1, 0, 2);
        Tensor t = Tensor.allocate(DType.F32, 1, 1, 3, 2);
        once(engine, new AttentionOp(none, t, t, none));
      }
    });
    test("the gate's window goes into an op", () -> {
      Gate.Decision decision = Gate.decide(new Gate.Packet().lambda(100).lambdaPrev(100), null);
      equal(decision.verdict(), Gate.Verdict.ALLOW);
      AttentionOp op = op().align(Alignment.TOP_LEFT);
      Gate.apply(decision, op);
      equal(op.get("window_left"), (long) decision.window() - 1);
      Gate.Policy policy = new Gate.Policy().lambdaMin(200).tier(Gate.Tier.SAFE, 1, 2, 3);
      equal(Gate.decide(new Gate.Packet().lambda(100), policy).verdict(), Gate.Verdict.QUARANTINE);
      equal(Gate.decide(new Gate.Packet().lambda(100), policy).window(), 3);
    });
    test("a library of another ABI is refused", () -> {
      Sage.requireAbi(Sage.abiVersion(), "", "");
      Sage.requireAbi(Sage.abiVersion() + 1, "", ""); // a newer minor
      refused(Constants.SAGE_E_ABI_MISMATCH, "libsage 9.9 at /somewhere has ABI 2.3; this package needs 1.0",
          () -> Sage.requireAbi(2 << 16 | 3, "9.9", "/somewhere"));
      refused(Constants.SAGE_E_ABI_MISMATCH, "has ABI 0.7", () -> Sage.requireAbi(7, "0.1", "/old"));
    });
  }

  static float[] once(Engine engine, AttentionOp op) {
    try (AttentionPlan plan = new AttentionPlan(engine, op); AttentionContext context = new AttentionContext(plan)) {
      context.run(op);
      return op.slot(Slot.O).toFloatArray();
    }
  }
}
