// The conformance runner's scenarios: callbacks, threads, orders of closing.
package org.sage;

import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

final class Scenarios {
  private static final String TICK = "{\"ts\":1,\"targets\":[{\"id\":\"door\",\"salience\":0.9}]}";
  private static final int[][] ORDERS = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  private final Conformance runner;
  private final Transcript out;

  Scenarios(Conformance runner) {
    this.runner = runner;
    this.out = runner.out;
  }

  void run(String name) {
    switch (name) {
      case "versions":
        if (!Sage.buildInfo().isEmpty())
          out.say("abi " + (Sage.abiVersion() >>> 16) + "." + (Sage.abiVersion() & 0xffff) + " version "
              + Sage.version());
        break;
      case "status_names": {
        StringBuilder names = new StringBuilder(Sage.statusName(0));
        for (int status = 1; status < 16; ++status) names.append(' ').append(Sage.statusName(status));
        out.say(names.toString());
        break;
      }
      case "backends":
        try (Engine engine = Engine.open()) {
          String described = engine.describe();
          StringBuilder names = new StringBuilder("backends");
          for (String backend : engine.backends())
            if (Transcript.isJsonWith(described, backend)) names.append(' ').append(backend);
          out.say(names.toString());
        }
        break;
      case "free_orders": {
        int good = 0;
        for (int[] order : ORDERS) good += (closeModel(order) ? 1 : 0) + (closePlan(order) ? 1 : 0);
        out.say("free_orders " + good);
        break;
      }
      case "closed":
        closed();
        break;
      case "log":
      case "log_throws":
        log(name);
        break;
      case "cancel_callback":
      case "cancel_throws":
        cancelCallback(name);
        break;
      case "cancel_thread":
        cancelThread();
        break;
      case "wrong_major":
        try (Engine engine = Engine.open()) {
          out.say("wrong_major " + refusal(() -> engine.loadPlugin(runner.plugin), runner.plugin));
        }
        break;
      case "missing_model":
        try (Engine engine = Engine.open()) {
          String path = runner.folder + "/missing.fbs";
          out.say("missing_model " + refusal(() -> Model.load(engine, path), path));
        }
        break;
      case "native":
        nativeKernels();
        break;
      case "zero_copy":
        zeroCopy();
        break;
      case "denormals": {
        float small = Float.parseFloat("1e-39");
        out.say(small * 0.5f != 0 ? "denormals kept" : "denormals lost");
        break;
      }
      default:
        throw new IllegalArgumentException("no such scenario: " + name);
    }
  }

  private static AttentionOp problem(DType dtype, long heads, long seq, long dim) {
    Tensor[] t = new Tensor[4];
    for (int i = 0; i < 4; ++i) t[i] = Tensor.allocate(dtype, 1, heads, seq, dim);
    return new AttentionOp(t[0], t[1], t[2], t[3]);
  }

  private boolean closeModel(int[] order) {
    Engine engine = Engine.open();
    Model model = Model.load(engine, runner.folder + "/metabolic.fbs");
    Session session = new Session(model);
    List<AutoCloseable> all = List.of(engine, model, session);
    boolean good = true;
    boolean[] closed = new boolean[3];
    for (int which : order) {
      if (!closed[0]) good &= !engine.backends().isEmpty();
      if (!closed[1]) good &= model.kind() == GraphKind.METABOLIC;
      if (!closed[2]) good &= session.tick(TICK).startsWith("{");
      close(all.get(which));
      closed[which] = true;
    }
    return good;
  }

  private boolean closePlan(int[] order) {
    AttentionOp op = problem(DType.F32, 1, 4, 8);
    Engine engine = Engine.open();
    AttentionPlan plan = new AttentionPlan(engine, op);
    AttentionContext context = new AttentionContext(plan);
    List<AutoCloseable> all = List.of(engine, plan, context);
    boolean good = true;
    boolean[] closed = new boolean[3];
    for (int which : order) {
      if (!closed[0]) good &= !engine.backends().isEmpty();
      if (!closed[1]) good &= !plan.backend().isEmpty();
      if (!closed[2]) context.run(op);
      close(all.get(which));
      closed[which] = true;
    }
    return good;
  }

  private static void close(AutoCloseable object) {
    try {
      object.close();
    } catch (Exception failed) {
      throw new AssertionError(failed);
    }
  }

  private void closed() {
    AttentionOp op = problem(DType.F32, 1, 4, 8);
    Engine engine = Engine.open();
    AttentionPlan plan = new AttentionPlan(engine, op);
    AttentionContext context = new AttentionContext(plan);
    Model model = Model.load(engine, runner.folder + "/metabolic.fbs");
    Session session = new Session(model);
    for (int i = 0; i < 2; ++i)
      for (AutoCloseable object : List.of(engine, plan, context, model, session)) close(object);
    int refused = 0;
    for (Runnable use : List.<Runnable>of(engine::backends, plan::backend, () -> context.run(op), model::kind,
        session::run))
      try {
        use.run();
      } catch (IllegalStateException closed) {
        ++refused;
      }
    out.say("closed " + refused);
  }

  private void log(String name) {
    AtomicInteger lines = new AtomicInteger();
    Options options = new Options().set("log_level", "debug").log((level, line) -> {
      lines.incrementAndGet();
      if (name.equals("log_throws")) throw new IllegalStateException("thrown by a log callback");
    });
    String status = "SAGE_OK";
    try (Engine engine = Engine.open(options)) {
      engine.loadPlugin(runner.plugin);
    } catch (SageException refused) {
      status = refused.statusName();
    }
    if (name.equals("log_throws")) out.say("log_throws " + (lines.get() > 0 ? status : "was not called"));
    else out.say(lines.get() > 0 ? "log called" : "log silent");
  }

  private void cancelCallback(String name) {
    AttentionOp op = problem(DType.F32, 1, 64, 8);
    Options options = new Options().cancel(() -> {
      if (name.equals("cancel_throws")) throw new IllegalStateException("thrown by a cancel callback");
      return true;
    });
    try (Engine engine = Engine.open(); AttentionPlan plan = new AttentionPlan(engine, op, options);
        AttentionContext context = new AttentionContext(plan)) {
      out.say(name + " " + status(() -> context.run(op)));
    }
  }

  private void cancelThread() {
    AttentionOp op = problem(DType.F64, 4, 2048, 64);
    AtomicBoolean done = new AtomicBoolean();
    try (Engine engine = Engine.open();
        AttentionPlan plan = new AttentionPlan(engine, op, new Options().set("backend", "reference"));
        AttentionContext context = new AttentionContext(plan)) {
      Thread canceller = new Thread(() -> {
        while (!done.get()) {
          context.cancel();
          java.util.concurrent.locks.LockSupport.parkNanos(1_000_000);
        }
      });
      canceller.start();
      String status = status(() -> context.run(op));
      done.set(true);
      canceller.join();
      out.say("cancel_thread " + status);
    } catch (InterruptedException interrupted) {
      throw new AssertionError(interrupted);
    }
  }

  private static String status(Runnable call) {
    try {
      call.run();
      return "SAGE_OK";
    } catch (SageException error) {
      return error.statusName();
    }
  }

  private static String refusal(Runnable call, String path) {
    try {
      call.run();
      return "SAGE_OK not named";
    } catch (SageException error) {
      return error.statusName() + (error.getMessage().contains(path) ? " named" : " not named");
    }
  }

  private void nativeKernels() {
    int size = 2 * 33 * 16;
    float[][] data = new float[3][size];
    int[] factor = {7, 5, 3};
    for (int i = 0; i < 3; ++i)
      for (int n = 0; n < size; ++n) data[i][n] = (n * factor[i] % 31 - 15) / 8f;
    AttentionShape shape = new AttentionShape().heads(2, 2).sequence(33, 33).dim(16).causal(Alignment.TOP_LEFT);
    Tensor[] o = new Tensor[2];
    for (int threads = 1; threads <= 2; ++threads)
      try (Engine engine = Engine.open(new Options().set("threads", Integer.toString(threads)))) {
        o[threads - 1] = Tensor.allocate(DType.F32, 2, 33, 16);
        engine.attention(shape, Tensor.of(data[0], size), Tensor.of(data[1], size), Tensor.of(data[2], size),
            o[threads - 1]);
      }
    out.say("native " + Transcript.hashOf(o[0].toByteArray()));
    out.say(java.util.Arrays.equals(o[0].toByteArray(), o[1].toByteArray()) ? "threads equal" : "threads differ");
  }

  private void zeroCopy() {
    try (Engine engine = Engine.open(); Model model = Model.load(engine, runner.folder + "/op_graph.fbs");
        Session session = new Session(model, new Options().set("trace", "true"))) {
      long[][] shapes = {{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}, {1, 2, 3, 4}};
      for (int i = 0; i < 4; ++i)
        session.bind(i < 3 ? Direction.INPUT : Direction.OUTPUT, i % 3, Tensor.allocate(DType.F32, shapes[i]));
      session.run();
      session.run();
      String counter = session.trace().split("\"bytes_copied\":")[1];
      out.say("zero_copy " + Long.parseLong(counter.split("[^0-9]")[0]));
    }
  }
}
