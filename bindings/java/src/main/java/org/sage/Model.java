// A checked file and its weights.
package org.sage;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.LongUnaryOperator;

/** A model. Immutable and free-threaded; each caller makes a {@link Session} of it. */
public final class Model implements AutoCloseable {
  private final NativeHandle handle;

  private Model(Engine engine, LongUnaryOperator load) {
    NativeHandle parent = engine.handle();
    long raw = parent.acquire();
    try {
      handle = NativeHandle.create(this, "model", parent.callbacks(), null, none -> load.applyAsLong(raw),
          SageNative::model_destroy);
    } finally {
      parent.release();
    }
  }

  /** From a file. */
  public static Model load(Engine engine, String path) {
    Objects.requireNonNull(path, "path");
    return new Model(engine, raw -> SageNative.model_load(raw, path));
  }

  /** From bytes, which are copied; a model without weight files. */
  public static Model load(Engine engine, byte[] bytes) {
    return load(engine, bytes, null);
  }

  /**
   * From bytes, which are copied.
   *
   * @param weightsFolder where the model's relative paths begin; null: a model without weight files
   */
  public static Model load(Engine engine, byte[] bytes, String weightsFolder) {
    Objects.requireNonNull(bytes, "bytes");
    return new Model(engine, raw -> SageNative.model_load_buffer(raw, bytes, weightsFolder));
  }

  public GraphKind kind() {
    return GraphKind.of(handle.call(SageNative::model_kind));
  }

  public List<TensorInfo> inputs() {
    return infos(Direction.INPUT);
  }

  public List<TensorInfo> outputs() {
    return infos(Direction.OUTPUT);
  }

  private List<TensorInfo> infos(Direction direction) {
    return handle.call(raw -> {
      List<TensorInfo> infos = new ArrayList<>();
      for (int i = 0; i < SageNative.model_io_count(raw, direction.code()); ++i) {
        long[] info = new long[2 + Constants.SAGE_MAX_RANK];
        String name = Text.of(SageNative.model_io_info(raw, direction.code(), i, info));
        infos.add(TensorInfo.of(name, info));
      }
      return infos;
    });
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
