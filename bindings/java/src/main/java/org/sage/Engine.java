// The engine: backends, devices, threads; and the plain attention call.
package org.sage;

import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * Backends and their threads. Free-threaded: one for a program is enough. What is made of it keeps it alive inside the
 * library, so it may be closed at any time, in any order, and while calls run.
 */
public final class Engine implements AutoCloseable {
  private final NativeHandle handle;

  private Engine(Options options) {
    Sage.load();
    handle = NativeHandle.create(this, "engine", List.of(), options, SageNative::engine_create,
        SageNative::engine_destroy);
  }

  /** All backends that are found beside the library. */
  public static Engine open() {
    return new Engine(null);
  }

  /**
   * @param options null: none
   * @throws SageException for an option that is unknown or has no such value
   */
  public static Engine open(Options options) {
    return new Engine(options);
  }

  /** A backend of one's own. It must be trusted: it is loaded into this process. */
  public void loadPlugin(String absolutePath) {
    Objects.requireNonNull(absolutePath, "absolutePath");
    long raw = handle.acquire();
    try {
      SageNative.engine_load_plugin(raw, absolutePath);
    } finally {
      handle.release();
    }
  }

  /** Names of the usable ones, at least {@code reference}. */
  public List<String> backends() {
    return handle.call(raw -> {
      List<String> names = new ArrayList<>();
      for (int i = 0; i < SageNative.engine_backend_count(raw); ++i) {
        String name = Text.of(SageNative.engine_backend_name(raw, i));
        if (name != null) names.add(name);
      }
      return names;
    });
  }

  /** JSON: every plugin that was found, with path, version, devices, features, and why it is refused or shadowed. */
  public String describe() {
    return handle.call(raw -> Text.of(SageNative.engine_describe(raw)));
  }

  /**
   * o = softmax(scale q k^T) v, in place: contiguous tensors of one type, whose element counts are those of the shape.
   * Make the tensors once and call often: nothing is allocated. Everything else that attention can do takes an
   * {@link AttentionOp}.
   */
  public void attention(AttentionShape shape, Tensor q, Tensor k, Tensor v, Tensor o) {
    shape.check(q.count(), k.count(), v.count(), o.count());
    DType dtype = q.dtype();
    if (k.dtype() != dtype || v.dtype() != dtype || o.dtype() != dtype)
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "q, k, v and o have one type; they are " + dtype + ", "
          + k.dtype() + ", " + v.dtype() + " and " + o.dtype());
    q.requireData("q").requireContiguous("q");
    k.requireData("k").requireContiguous("k");
    v.requireData("v").requireContiguous("v");
    o.requireData("o").requireWritable("o").requireContiguous("o");
    long raw = handle.acquire();
    try {
      SageNative.attention(raw, dtype.code(), shape.layout, shape.batch, shape.headsQ, shape.headsKv, shape.seqQ,
          shape.seqKv, shape.dimQk, shape.dimV, q.address(), k.address(), v.address(), o.address(), shape.causal,
          shape.scale);
    } finally {
      handle.release();
      Reference.reachabilityFence(q);
      Reference.reachabilityFence(k);
      Reference.reachabilityFence(v);
      Reference.reachabilityFence(o);
    }
  }

  /** The same on arrays, which are copied in and out. */
  public void attention(AttentionShape shape, float[] q, float[] k, float[] v, float[] o) {
    shape.check(q.length, k.length, v.length, o.length);
    long raw = handle.acquire();
    try {
      SageNative.attention_f32(raw, shape.layout, shape.batch, shape.headsQ, shape.headsKv, shape.seqQ, shape.seqKv,
          shape.dimQk, shape.dimV, q, k, v, o, shape.causal, shape.scale);
    } finally {
      handle.release();
    }
  }

  /** The same on arrays, which are copied in and out. */
  public void attention(AttentionShape shape, double[] q, double[] k, double[] v, double[] o) {
    shape.check(q.length, k.length, v.length, o.length);
    long raw = handle.acquire();
    try {
      SageNative.attention_f64(raw, shape.layout, shape.batch, shape.headsQ, shape.headsKv, shape.seqQ, shape.seqKv,
          shape.dimQk, shape.dimV, q, k, v, o, shape.causal, shape.scale);
    } finally {
      handle.release();
    }
  }

  /** JSON: all errors of a model file, each with its path inside it; {@code "valid"} says whether there are none. */
  public String check(String path) {
    Objects.requireNonNull(path, "path");
    return handle.call(raw -> Text.of(SageNative.model_check(raw, path)));
  }

  /**
   * The same of bytes.
   *
   * @param weightsFolder where the model's relative paths begin; null: a model without weight files
   */
  public String check(byte[] bytes, String weightsFolder) {
    Objects.requireNonNull(bytes, "bytes");
    return handle.call(raw -> Text.of(SageNative.model_check_buffer(raw, bytes, weightsFolder)));
  }

  /** Twice is once. */
  @Override
  public void close() {
    handle.close();
  }

  NativeHandle handle() {
    return handle;
  }
}
