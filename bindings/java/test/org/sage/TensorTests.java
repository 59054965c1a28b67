// Tensors: what is copied, what is used in place, what is refused.
package org.sage;

import static org.sage.Check.equal;
import static org.sage.Check.isTrue;
import static org.sage.Check.refused;
import static org.sage.Check.test;
import static org.sage.Check.thrown;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

final class TensorTests {
  private TensorTests() {}

  private static FloatBuffer direct(int floats) {
    return ByteBuffer.allocateDirect(4 * floats).order(ByteOrder.nativeOrder()).asFloatBuffer();
  }

  static void run() {
    test("of copies, wrap does not", () -> {
      float[] array = {1, 2, 3};
      Tensor copy = Tensor.of(array, 3);
      array[0] = 9;
      equal(copy.toFloatArray(), new float[] {1, 2, 3});
      FloatBuffer buffer = direct(5);
      buffer.position(1).limit(4);
      Tensor shared = Tensor.wrap(buffer, 3);
      buffer.put(2, 7f); // absolute: the second of the three
      equal(shared.toFloatArray(), new float[] {0, 7, 0});
      shared.floats().put(0, 5f);
      equal(buffer.get(1), 5f);
      equal(Tensor.wrap(buffer.slice(), 3).toFloatArray(), new float[] {5, 7, 0});
    });
    test("every element type goes in and out", () -> {
      equal(Tensor.of(new double[] {1.5}, 1).toDoubleArray(), new double[] {1.5});
      equal(Tensor.of(new int[] {-7, 8}, 2).toIntArray(), new int[] {-7, 8});
      equal(Tensor.of(new long[] {1L << 40}, 1).toByteArray(), new byte[] {0, 0, 0, 0, 0, 1, 0, 0});
      equal(Tensor.of(DType.BF16, new short[] {0x3f80}, 1).toByteArray(), new byte[] {(byte) 0x80, 0x3f});
      equal(Tensor.of(DType.BOOL, new byte[] {1, 0}, 2).dtype(), DType.BOOL);
      equal(Tensor.wrap(DType.F16, ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder()).asShortBuffer(), 2)
          .count(), 2L);
      equal(Tensor.of(new float[] {3}).shape(), new long[0]);
      for (DType dtype : DType.values()) isTrue(DType.of(dtype.code()) == dtype && dtype.bytes() > 0, dtype.name());
    });
    test("heap, foreign order, read-only and wrong lengths are refused", () -> {
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "the buffer lies in the heap", () ->
          Tensor.wrap(FloatBuffer.allocate(3), 3));
      ByteOrder foreign = ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN ? ByteOrder.BIG_ENDIAN
          : ByteOrder.LITTLE_ENDIAN;
      FloatBuffer swapped = ByteBuffer.allocateDirect(12).order(foreign).asFloatBuffer();
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "order", () -> Tensor.wrap(swapped, 3));
      Tensor readOnly = Tensor.wrap(direct(8).asReadOnlyBuffer(), 1, 1, 1, 8);
      Tensor good = Tensor.wrap(direct(8), 1, 1, 1, 8);
      try (Engine engine = Engine.open()) {
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "O is written, and its memory is read-only",
            () -> new AttentionPlan(engine, new AttentionOp(good, good, good, readOnly)));
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "K is written, and its memory is read-only",
            () -> new AttentionPlan(engine, new AttentionOp(good, readOnly, good, good).append(good, good)));
        AttentionOp op = new AttentionOp(readOnly, readOnly, readOnly.constant(), good);
        try (AttentionPlan plan = new AttentionPlan(engine, op);
            AttentionContext context = new AttentionContext(plan)) {
          context.run(op);
          refused(Constants.SAGE_E_INVALID_ARGUMENT, "read-only: O", () -> context.run(op.slot(Slot.O, readOnly)));
        }
        engine.attention(new AttentionShape().dim(8), readOnly, readOnly, readOnly, good);
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "read-only",
            () -> engine.attention(new AttentionShape().dim(8), good, good, good, readOnly));
      }
      equal(thrown(ShapeException.class, () -> Tensor.wrap(direct(3), 2, 2)).getMessage(),
          "F32[2, 2] has 16 bytes; 12 were given");
      thrown(ShapeException.class, () -> Tensor.of(new float[3], 4));
      thrown(ShapeException.class, () -> Tensor.of(new float[1], 3, -1));
      thrown(ShapeException.class, () -> Tensor.of(new float[1], 1, 1, 1, 1, 1, 1, 1, 1, 1));
      thrown(ShapeException.class, () -> Tensor.describe(DType.F32, 1L << 40, 1L << 40));
      thrown(ShapeException.class, () -> Tensor.allocate(DType.F32, 1L << 32));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "F32 has 4 bytes", () -> Tensor.of(DType.F32, new short[2], 1));
      thrown(NullPointerException.class, () -> Tensor.wrap((FloatBuffer) null, 3));
      thrown(NullPointerException.class, () -> Tensor.of((float[]) null, 3));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "not F64", () -> Tensor.of(new float[1], 1).toDoubleArray());
    });
    test("strides stay inside", () -> {
      Tensor six = Tensor.of(new float[] {0, 1, 2, 3, 4, 5}, 6);
      Tensor transposed = six.strided(0, new long[] {2, 3}, new long[] {1, 2});
      isTrue(!transposed.isContiguous(), "contiguous");
      six.strided(5, new long[] {6}, new long[] {-1});
      six.strided(6, new long[] {0}, new long[] {1});
      equal(six.reshape(2, 3).shape(), new long[] {2, 3});
      equal(six.reshape(1, 6).broadcast(4, 6).strides(), new long[] {0, 1});
      thrown(ShapeException.class, () -> six.strided(0, new long[] {2, 3}, new long[] {3, 2}));
      thrown(ShapeException.class, () -> six.strided(4, new long[] {6}, new long[] {-1}));
      thrown(ShapeException.class, () -> six.strided(0, new long[] {2}, new long[] {Long.MAX_VALUE}));
      thrown(ShapeException.class, () -> six.strided(0, new long[] {2}, new long[] {1, 1}));
      thrown(ShapeException.class, () -> six.reshape(4));
      thrown(ShapeException.class, () -> six.broadcast(7));
      thrown(ShapeException.class, transposed::toFloatArray);
    });
    test("a plan reads strided tensors in place", () -> {
      try (Engine engine = Engine.open()) {
        float[] want = AttentionTests.once(engine, AttentionTests.op());
        // The same numbers in [B,S,H,D], seen as [B,H,S,D].
        float[] q = AttentionTests.Q;
        float[] moved = new float[q.length];
        for (int b = 0; b < 2; ++b)
          for (int h = 0; h < 4; ++h)
            for (int s = 0; s < 5; ++s)
              System.arraycopy(q, ((b * 4 + h) * 5 + s) * 8, moved, ((b * 5 + s) * 4 + h) * 8, 8);
        AttentionOp op = AttentionTests.op().slot(Slot.Q, Tensor.of(moved, q.length).strided(0, new long[] {2, 4, 5, 8},
            new long[] {160, 8, 32, 1}));
        equal(AttentionTests.once(engine, op), want);
      }
    });
  }
}
