// A model at work: its inputs, runs, outputs, and the state of its ticks.
package org.sage;

import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.LongConsumer;
import java.util.stream.Stream;

/**
 * Runs a model. One call at a time: a second one is SAGE_E_BUSY; {@link #cancel} comes from any thread. It keeps its
 * model and engine alive inside the library, whenever those are closed.
 */
public final class Session implements AutoCloseable {
  private final NativeHandle handle;

  public Session(Model model) {
    this(model, null);
  }

  /** @param options null: none */
  public Session(Model model, Options options) {
    NativeHandle parent = model.handle();
    long raw = parent.acquire();
    try {
      handle = NativeHandle.create(this, "session", parent.callbacks(), options,
          with -> SageNative.session_create(raw, with), SageNative::session_destroy);
    } finally {
      parent.release();
    }
  }

  // ---- inputs and outputs ----

  /** Copied; stays set. */
  public void setInput(int index, Tensor data) {
    data.requireData("the input").requireContiguous("the input");
    with(raw -> SageNative.session_set_input(raw, index, data.dtype().code(), data.rawShape(), data.address(),
        data.sizeInBytes()));
    Reference.reachabilityFence(data);
  }

  /** Copied; stays set. */
  public void setInput(int index, float[] data, long... shape) {
    setInput(index, Tensor.of(data, shape));
  }

  /** Type and shape of the last run's output; its name is the model's to say. */
  public TensorInfo outputInfo(int index) {
    return TensorInfo.of("output " + index, info(index));
  }

  /** A copy of the last run's output. */
  public Tensor output(int index) {
    TensorInfo info = outputInfo(index);
    Tensor copy = Tensor.allocate(info.dtype(), info.shape());
    output(index, copy);
    return copy;
  }

  /** Copies the last run's output into memory of its type and size. */
  public void output(int index, Tensor into) {
    into.requireData("the output").requireWritable("the output").requireContiguous("the output");
    long[] info = info(index);
    if ((int) info[0] != into.dtype().code())
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "output " + index + " is " + DType.of((int) info[0])
          + ", not " + into.dtype());
    with(raw -> SageNative.session_get_output(raw, index, into.address(), into.sizeInBytes()));
    Reference.reachabilityFence(into);
  }

  /**
   * Uses memory in place, without a copy, until another is bound, an input is set, or the session is closed, which
   * keeps it from the collector so long. An output's shape is its upper bound. A read-only buffer is refused for an
   * output, and for an input that the model appends to. Null takes it back.
   */
  public synchronized void bind(Direction direction, int index, Tensor memory) { // so that the last one bound is kept
    if (memory == null) {
      with(raw -> SageNative.session_unbind(raw, direction.code(), index));
    } else {
      memory.requireData("what is bound");
      int dtype = memory.dtype().code();
      if (memory.isContiguous() && !memory.isReadOnly())
        with(raw -> SageNative.session_bind_flat(raw, direction.code(), index, dtype, memory.rawShape(),
            memory.address(), memory.sizeInBytes()));
      else
        with(raw -> SageNative.session_bind(raw, direction.code(), index, dtype, memory.rawShape(),
            memory.rawStrides(), Constants.SAGE_CPU, 0, memory.flags(), memory.address()));
    }
    handle.lend(direction.name() + index, memory); // after the call: one that fails leaves the old one bound
  }

  // ---- runs ----

  /** Returns when the outputs are ready. After an error they are undefined, the session stays usable. */
  public void run() {
    with(SageNative::session_run);
  }

  /** The same on the executor. Cancelling the future stops the run. */
  public CompletableFuture<Void> runAsync(Executor executor) {
    return RunFuture.start(executor, handle, SageNative::session_run, SageNative::session_cancel);
  }

  /** Stops the run or tick in progress with a {@link CancelledException}; later ones are not touched. */
  public void cancel() {
    with(SageNative::session_cancel);
  }

  /** JSON: every backend's verdict per node, without running. */
  public String explain() {
    return handle.call(raw -> Text.of(SageNative.session_explain(raw)));
  }

  /** JSON for Chrome or Perfetto: the last run's spans and counters. Takes the option {@code trace}. */
  public String trace() {
    return handle.call(raw -> Text.of(SageNative.session_trace(raw)));
  }

  /** JSON: how far each attention of the last run or tick is from exact. Takes the option {@code accuracy_report}. */
  public String accuracy() {
    return handle.call(raw -> Text.of(SageNative.session_accuracy(raw)));
  }

  // ---- ticks ----

  /**
   * One tick of an expert, metabolic or fusion graph: a JSON object in, the decision's out.
   *
   * @throws SageException SAGE_E_BAD_DATA for a bad tick: the state is as before, {@link #decision} has its record
   */
  public String tick(String json) {
    byte[] utf8 = json.getBytes(StandardCharsets.UTF_8);
    with(raw -> SageNative.session_tick(raw, utf8));
    return decision();
  }

  /** The record of the last tick, also of a refused one. */
  public String decision() {
    return handle.call(raw -> Text.of(SageNative.session_decision(raw)));
  }

  /**
   * A stream of ticks to a stream of decisions, one for one, in order, each when it is asked for. A bad tick is
   * answered by its error record and the stream goes on; every other failure is thrown.
   */
  public Stream<Decision> ticks(Stream<String> ticks) {
    return ticks.sequential().map(this::answer);
  }

  /** The same of iterators. */
  public Iterator<Decision> ticks(Iterator<String> ticks) {
    Objects.requireNonNull(ticks, "ticks");
    return new Iterator<>() {
      @Override
      public boolean hasNext() {
        return ticks.hasNext();
      }

      @Override
      public Decision next() {
        return answer(ticks.next());
      }
    };
  }

  private Decision answer(String json) {
    try {
      return new Decision(tick(json), null);
    } catch (SageException refused) {
      if (refused.status() != Constants.SAGE_E_BAD_DATA) throw refused;
      return new Decision(decision(), refused);
    }
  }

  /** The state between ticks, as versioned bytes. */
  public byte[] snapshot() {
    return handle.call(SageNative::session_snapshot);
  }

  /** @throws SageException for another model's snapshot or a damaged one; nothing is changed then */
  public void restore(byte[] snapshot) {
    Objects.requireNonNull(snapshot, "snapshot");
    with(raw -> SageNative.session_restore(raw, snapshot));
  }

  /** Twice is once. A run in progress ends first. */
  @Override
  public void close() {
    handle.close();
  }

  /** dtype, rank, 8 lengths, bytes. */
  private long[] info(int index) {
    long[] info = new long[3 + Constants.SAGE_MAX_RANK];
    with(raw -> SageNative.session_output_info(raw, index, info));
    return info;
  }

  private void with(LongConsumer function) {
    long raw = handle.acquire();
    try {
      function.accept(raw);
    } finally {
      handle.release();
    }
  }
}
