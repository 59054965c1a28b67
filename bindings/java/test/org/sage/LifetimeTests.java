// Callbacks, cancelling, closing in the middle of a run, and what the collector may take.
package org.sage;

import static org.sage.Check.collected;
import static org.sage.Check.equal;
import static org.sage.Check.isTrue;
import static org.sage.Check.refused;
import static org.sage.Check.test;
import static org.sage.Check.thrown;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

final class LifetimeTests {
  private static final String NO_PLUGIN = "/nowhere/libsage_T\u00fcr.so";

  private LifetimeTests() {}

  /** Seconds of work on the reference backend, where nobody stops it. */
  private static AttentionOp longOp() {
    Tensor t = Tensor.allocate(DType.F64, 1, 4, 2048, 64);
    return new AttentionOp(t, t, t, Tensor.allocate(DType.F64, 1, 4, 2048, 64));
  }

  private static Options reference() {
    return new Options().set("backend", "reference");
  }

  /** A callback that nothing here keeps. */
  private static WeakReference<LogCallback> logTo(Options options, AtomicInteger lines) {
    LogCallback callback = new LogCallback() {
      @Override
      public void log(int level, String line) {
        lines.incrementAndGet();
      }
    };
    options.set("plugins", NO_PLUGIN).log(callback);
    return new WeakReference<>(callback);
  }

  static void run(String folder) {
    test("a log has whole lines, and may throw", () -> {
      List<String> lines = new ArrayList<>();
      Options options = new Options().set("plugins", NO_PLUGIN).log((level, line) -> {
        lines.add(level + " " + line);
        throw new IllegalStateException("dropped");
      });
      try (Engine engine = Engine.open(options)) {
        isTrue(lines.stream().anyMatch(line -> line.startsWith("2 ") && line.contains(NO_PLUGIN)), lines.toString());
        equal(AttentionTests.flat(engine).length, AttentionTests.Q.length);
      }
    });
    test("callbacks live as long as what may call them, then are let go", () -> {
      AtomicInteger lines = new AtomicInteger();
      Options options = new Options();
      WeakReference<LogCallback> callback = logTo(options, lines);
      AttentionOp op = AttentionTests.op();
      AttentionContext context;
      try (Engine engine = Engine.open(options); AttentionPlan plan = new AttentionPlan(engine, op)) {
        context = new AttentionContext(plan);
      }
      options.log(null);
      isTrue(lines.get() > 0, "not called");
      isTrue(!collected(10, () -> callback.get() == null), "gone, though the context's engine may call it");
      context.run(op);
      context.close();
      isTrue(collected(() -> callback.get() == null), "kept for nobody");
    });
    test("what is forgotten is closed by the collector", () -> {
      AtomicInteger lines = new AtomicInteger();
      WeakReference<LogCallback> callback = forget(lines);
      isTrue(lines.get() > 0, "not called");
      isTrue(collected(() -> callback.get() == null), "the engine was not closed");
    });
    test("a failed creation lets its callbacks go", () -> {
      Options options = new Options().set("threads", "many");
      WeakReference<LogCallback> callback = logTo(options, new AtomicInteger());
      refused(Constants.SAGE_E_INVALID_ARGUMENT, "threads", () -> Engine.open(options));
      options.log(null);
      isTrue(collected(() -> callback.get() == null), "kept for nobody");
    });
    test("constants are kept for a context whose plan is closed, then are let go", () -> {
      try (Engine engine = Engine.open()) {
        List<WeakReference<Tensor>> constants = new ArrayList<>();
        AttentionContext context = contextWithConstants(engine, constants);
        isTrue(!collected(10, () -> constants.get(0).get() == null), "gone, though the context may read it");
        context.close();
        isTrue(collected(() -> constants.get(0).get() == null), "kept for nobody");
      }
    });
    test("bound memory is kept", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, folder + "/op_graph.fbs");
          Session session = new Session(model)) {
        Tensor output = ModelTests.bind(session)[3]; // nobody here has the inputs
        session.run();
        float[] want = output.toFloatArray();
        for (int i = 0; i < 5; ++i) {
          System.gc();
          Thread.sleep(20); // the buffers' own cleaners
          ByteRoom.fill();
          session.run();
          equal(output.toFloatArray(), want);
        }
      }
    });
    test("cancel callbacks are asked on the engine's threads, and may throw there", () -> {
      Tensor t = Tensor.allocate(DType.F32, 1, 8, 1024, 64);
      AttentionOp op = new AttentionOp(t, t, t, Tensor.allocate(DType.F32, 1, 8, 1024, 64));
      Set<Thread> threads = ConcurrentHashMap.newKeySet();
      AtomicBoolean thrower = new AtomicBoolean();
      Options options = new Options().cancel(() -> {
        threads.add(Thread.currentThread());
        if (thrower.get()) throw new IllegalStateException("stops");
        return false;
      });
      try (Engine engine = Engine.open(new Options().set("threads", "2"));
          AttentionPlan plan = new AttentionPlan(engine, op, options);
              AttentionContext context = new AttentionContext(plan)) {
        for (int i = 0; i < 100 && threads.size() < 2; ++i) context.run(op);
        equal(threads.size(), 2);
        for (Thread thread : threads)
          isTrue(thread == Thread.currentThread() || thread.isDaemon(),
              "a thread of the engine would keep the JVM alive");
        thrower.set(true);
        thrown(CancelledException.class, () -> context.run(op));
        thrower.set(false);
        context.run(op);
      }
    });
    ExecutorService executor = Executors.newFixedThreadPool(2);
    test("a future's run completes, fails with its error, and stops when it is cancelled", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, folder + "/op_graph.fbs");
          Session session = new Session(model)) {
        Throwable failed = thrown(CompletionException.class, () -> session.runAsync(executor).join()).getCause();
        isTrue(failed instanceof SageException, "inputs are missing: " + failed);
        ModelTests.bind(session);
        session.runAsync(executor).join();
        AttentionOp op = longOp();
        try (AttentionPlan plan = new AttentionPlan(engine, op, reference())) {
          for (int pause : new int[] {0, 1, 30}) {
            AttentionContext context = new AttentionContext(plan);
            CompletableFuture<Void> running = context.runAsync(op, executor);
            Thread.sleep(pause);
            isTrue(running.cancel(true), "done before it was cancelled");
            thrown(CancellationException.class, running::join);
            isFreeSoon(context, op, executor);
            context.close();
          }
          AttentionContext context = new AttentionContext(plan);
          CompletableFuture<Void> late = new CompletableFuture<>();
          CompletableFuture<Void> never = context.runAsync(op, body -> late.thenRun(body));
          never.cancel(true);
          late.complete(null); // the executor comes to it: nothing is run
          isTrue(never.isCancelled(), "not cancelled");
        }
      }
    });
    test("closing while a run is on is safe, and a second run is busy", () -> {
      AttentionOp op = longOp();
      Engine engine = Engine.open();
      AttentionPlan plan = new AttentionPlan(engine, op, reference());
      AttentionContext context = new AttentionContext(plan);
      AtomicReference<Throwable> result = new AtomicReference<>();
      Thread runner = new Thread(() -> {
        try {
          context.run(op);
        } catch (Throwable thrown) {
          result.set(thrown);
        }
      });
      runner.start();
      Thread.sleep(50);
      refused(Constants.SAGE_E_BUSY, "", () -> context.run(op));
      engine.close();
      plan.close();
      context.cancel();
      context.close(); // most likely before the run has seen that
      runner.join();
      isTrue(result.get() == null || result.get() instanceof CancelledException, "" + result.get());
      thrown(IllegalStateException.class, () -> context.run(op));
      thrown(IllegalStateException.class, context::cancel);
      thrown(IllegalStateException.class, () -> new AttentionContext(plan));
      thrown(IllegalStateException.class, () -> new AttentionPlan(engine, op));
      thrown(IllegalStateException.class, () -> Model.load(engine, "x"));
      CompletableFuture<Void> refused = context.runAsync(op, executor);
      isTrue(thrown(CompletionException.class, refused::join).getCause() instanceof IllegalStateException, "ran");
    });
    test("four threads share an engine while it is closed under them", () -> {
      Engine engine = Engine.open(new Options().set("threads", "2"));
      float[] want = AttentionTests.flat(engine);
      AtomicReference<Throwable> wrong = new AtomicReference<>();
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < 4; ++i) {
        Thread thread = new Thread(() -> {
          try {
            while (true) equal(AttentionTests.flat(engine), want);
          } catch (IllegalStateException closed) {
            return;
          } catch (Throwable thrown) {
            wrong.set(thrown);
          }
        });
        thread.start();
        threads.add(thread);
      }
      Thread.sleep(100);
      engine.close();
      for (Thread thread : threads) thread.join();
      equal(wrong.get(), null);
    });
    executor.shutdown();
  }

  /** A run that was cancelled ends: nobody waits for the whole of it. */
  private static void isFreeSoon(AttentionContext context, AttentionOp op, ExecutorService executor) throws Exception {
    for (long begin = System.nanoTime(); System.nanoTime() - begin < 5_000_000_000L;) {
      CompletableFuture<Void> next = context.runAsync(op, executor);
      try {
        next.get(20, java.util.concurrent.TimeUnit.MILLISECONDS);
      } catch (java.util.concurrent.TimeoutException running) {
        next.cancel(true);
        return;
      } catch (java.util.concurrent.ExecutionException busy) {
        // Or cancelled with the one before it, where it began in the moment between that one's end and its word of it.
        int status = ((SageException) busy.getCause()).status();
        isTrue(status == Constants.SAGE_E_BUSY || status == Constants.SAGE_E_CANCELLED, "status " + status);
      }
    }
    throw new AssertionError("the run went on");
  }

  private static AttentionContext contextWithConstants(Engine engine, List<WeakReference<Tensor>> constants) {
    Tensor t = Tensor.allocate(DType.F32, 1, 1, 4, 8);
    Tensor k = Tensor.allocate(DType.F32, 1, 1, 4, 8).constant();
    constants.add(new WeakReference<>(k));
    try (AttentionPlan plan = new AttentionPlan(engine, new AttentionOp(t, k, t, Tensor.allocate(DType.F32, 1, 1, 4,
        8)))) {
      return new AttentionContext(plan);
    }
  }

  private static WeakReference<LogCallback> forget(AtomicInteger lines) {
    Options options = new Options();
    WeakReference<LogCallback> callback = logTo(options, lines);
    Engine engine = Engine.open(options);
    isTrue(!engine.backends().isEmpty(), "no backends");
    return callback;
  }

  /** Memory that would take the place of what was freed. */
  private static final class ByteRoom {
    private ByteRoom() {}

    static void fill() {
      for (int i = 0; i < 256; ++i) {
        java.nio.ByteBuffer room = java.nio.ByteBuffer.allocateDirect(i % 2 == 0 ? 80 : 96);
        while (room.hasRemaining()) room.put((byte) 0x41);
      }
    }
  }
}
