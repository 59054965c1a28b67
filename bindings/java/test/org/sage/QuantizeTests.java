// The quantiser: codes, scales and means, what it refuses; and how exact a session was.
package org.sage;

import static org.sage.Check.equal;
import static org.sage.Check.isTrue;
import static org.sage.Check.refused;
import static org.sage.Check.test;

import java.nio.ByteBuffer;
import java.util.Arrays;

final class QuantizeTests {
  private QuantizeTests() {}

  static void run(String folder) {
    Tensor x = Tensor.of(new float[] {0.5f, -2, 0.25f, 1}, 1, 1, 2, 2);
    test("quantised and back, with a mean and with given scales", () -> {
      Tensor codes = Tensor.allocate(DType.I8, 1, 1, 2, 2);
      Tensor scale = Tensor.allocate(DType.F32, 1, 1, 2);
      Tensor back = Tensor.allocate(DType.F32, 1, 1, 2, 2);
      QuantizeReport report = new Quantization(Constants.SAGE_PER_TOKEN).quantize(x, codes, scale);
      equal(codes.toByteArray(), new byte[] {32, -127, 32, 127});
      equal(scale.toFloatArray(), new float[] {2f / 127, 1f / 127});
      equal(report.codeBytes * 4, x.sizeInBytes());
      equal(report.scaleBytes, 8L);
      isTrue(report.maxAbsError > 0 && report.rmsError <= report.maxAbsError, "errors");

      Tensor mean = Tensor.allocate(DType.F32, 1, 1, 2);
      Quantization smooth = new Quantization(Constants.SAGE_PER_TOKEN).mean(mean);
      smooth.quantize(x, codes, scale);
      equal(mean.toFloatArray(), new float[] {0.375f, -0.5f});
      smooth.dequantize(codes, scale, back);
      for (int i = 0; i < 4; ++i) isTrue(Math.abs(back.toFloatArray()[i] - x.toFloatArray()[i]) < 0.01, "near");

      report = new Quantization(Constants.SAGE_PER_TOKEN)
          .quantizeWith(x, codes, Tensor.of(new float[] {0.01f, 0.01f}, 1, 1, 2));
      equal(report.saturated, 1L);
      equal(codes.toByteArray(), new byte[] {50, -127, 25, 100});
    });
    test("packed sequences and blocks have scales of their own", () -> {
      Tensor rows = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 1, 2);
      Tensor codes = Tensor.allocate(DType.I16, 3, 1, 2);
      Tensor scale = Tensor.allocate(DType.F32, 2, 1);
      Quantization byHead = new Quantization(Constants.SAGE_PER_HEAD);
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "cu_seqlens", () -> byHead.quantize(rows, codes, scale));
      byHead.cuSeqlens(Tensor.of(new int[] {0, 1, 3}, 3)).quantize(rows, codes, scale);
      equal(scale.toFloatArray(), new float[] {2f / 32767, 6f / 32767});
      new Quantization(Constants.SAGE_PER_BLOCK).scaleBlock(2)
          .quantize(rows.reshape(1, 1, 3, 2), codes.reshape(1, 1, 3, 2), scale.reshape(1, 1, 2));
      equal(scale.toFloatArray(), new float[] {4f / 32767, 6f / 32767});
    });
    test("the quantiser refuses NaN, other shapes, read-only results, memory that overlaps, and null", () -> {
      Tensor codes = Tensor.allocate(DType.I8, 1, 1, 2, 2);
      Tensor scale = Tensor.allocate(DType.F32, 1, 1, 2);
      Quantization byToken = new Quantization(Constants.SAGE_PER_TOKEN);
      Tensor bad = Tensor.of(new float[] {1, 2, Float.NaN, 4}, 1, 1, 2, 2);
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "x[0,0,1,0] is nan", () -> byToken.quantize(bad, codes, scale));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "[1, 1] is expected", () ->
          new Quantization(Constants.SAGE_PER_HEAD).quantize(x, codes, scale));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "granularity is 4294967295", () ->
          new Quantization(-1).quantize(x, codes, scale));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "x has no data", () ->
          byToken.quantize(Tensor.describe(DType.F32, 1, 1, 2, 2), codes, scale));
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "codes is null", () -> byToken.quantize(x, null, scale));
      ByteBuffer memory = ByteBuffer.allocateDirect(20);
      Tensor constant = Tensor.wrap(DType.I8, memory.asReadOnlyBuffer().limit(4), 1, 1, 2, 2);
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "codes is written", () -> byToken.quantize(x, constant, scale));
      Tensor floats = Tensor.wrap(DType.F32, memory.duplicate().limit(16), 1, 1, 2, 2);
      Tensor over = Tensor.wrap(DType.I8, memory.duplicate().position(15).limit(19), 1, 1, 2, 2);
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "codes is written and overlaps x", () ->
          byToken.quantize(floats, over, scale));
      equal(codes.toByteArray(), new byte[4]);
      equal(scale.toFloatArray(), new float[2]);
    });
    test("how exact a session was", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, folder + "/op_graph.fbs");
          Session plain = new Session(model);
          Session session = new Session(model, new Options().set("accuracy_report", "true"))) {
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "accuracy_report", plain::accuracy);
        long[][] shapes = {{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}};
        for (int i = 0; i < shapes.length; ++i) {
          float[] values = new float[(int) Tensor.describe(DType.F32, shapes[i]).count()];
          Arrays.fill(values, 0.5f);
          session.setInput(i, Tensor.of(values, shapes[i]));
        }
        session.run();
        isTrue(session.accuracy().contains("\"cosine\""), session.accuracy());
      }
    });
  }
}
