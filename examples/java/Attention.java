// Attention.java: attention over your own arrays, from Java.
//   javac -cp sage-engine.jar Attention.java && java -cp sage-engine.jar:. Attention
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import org.sage.Alignment;
import org.sage.AttentionContext;
import org.sage.AttentionOp;
import org.sage.AttentionPlan;
import org.sage.AttentionShape;
import org.sage.DType;
import org.sage.Engine;
import org.sage.Sage;
import org.sage.SageException;
import org.sage.Slot;
import org.sage.Tensor;

public final class Attention {
  public static void main(String[] arguments) {
    try (Engine engine = Engine.open()) {
      System.out.println("sage " + Sage.version() + " from " + Sage.libraryPath());

      // One call: 8 query heads over 2 of K and V, 512 tokens, causal; [batch, heads, tokens, 64]. Arrays are copied.
      AttentionShape shape = new AttentionShape().heads(8, 2).sequence(512, 512).dim(64).causal(Alignment.TOP_LEFT);
      float[] q = filled(8 * 512 * 64, 0.1f);
      float[] k = filled(2 * 512 * 64, 0.2f);
      float[] v = filled(2 * 512 * 64, 0.3f);
      float[] o = new float[q.length];
      engine.attention(shape, q, k, v, o);
      System.out.println("o[0] = " + o[0]);

      // The same with a window of 128 keys, planned once, run as often as you like, in a direct buffer without a copy.
      FloatBuffer result = ByteBuffer.allocateDirect(4 * q.length).order(ByteOrder.nativeOrder()).asFloatBuffer();
      AttentionOp op = new AttentionOp(Tensor.of(q, 1, 8, 512, 64), Tensor.of(k, 1, 2, 512, 64), Tensor.of(v, 1, 2,
          512, 64), Tensor.wrap(result, 1, 8, 512, 64)).causal(Alignment.TOP_LEFT).window(127L, null)
          .slot(Slot.LSE, Tensor.allocate(DType.F32, 1, 8, 512));
      try (AttentionPlan plan = new AttentionPlan(engine, op); AttentionContext context = new AttentionContext(plan)) {
        for (int i = 0; i < 3; ++i) context.run(op);
        System.out.println("ran on " + plan.backend() + ", o[0] = " + result.get(0));
      }
    } catch (SageException error) {
      System.err.println(error.statusName() + ": " + error.getMessage());
      System.exit(1);
    }
  }

  private static float[] filled(int count, float value) {
    float[] values = new float[count];
    Arrays.fill(values, value);
    return values;
  }
}
