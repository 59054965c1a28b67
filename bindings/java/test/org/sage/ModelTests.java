// Models, sessions and tick streams.
package org.sage;

import static org.sage.Check.equal;
import static org.sage.Check.isTrue;
import static org.sage.Check.refused;
import static org.sage.Check.test;
import static org.sage.Check.thrown;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

final class ModelTests {
  private ModelTests() {}

  static String tick(int ts, double salience) {
    return "{\"ts\":" + ts + ",\"targets\":[{\"id\":\"T\u00fcr \uD83D\uDE00\",\"salience\":" + salience + "}]}";
  }

  static Tensor[] bind(Session session) {
    long[][] shapes = {{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}, {1, 2, 3, 4}};
    Tensor[] t = new Tensor[4];
    for (int i = 0; i < 4; ++i) {
      t[i] = Tensor.of(AttentionTests.normal(i % 3 == 0 ? 24 : 20, i), shapes[i]);
      session.bind(i < 3 ? Direction.INPUT : Direction.OUTPUT, i % 3, t[i]);
    }
    return t;
  }

  static void run(String folder) {
    String graph = folder + "/op_graph.fbs";
    test("a model runs on copies and in place", () -> {
      byte[] bytes = Files.readAllBytes(Path.of(graph));
      try (Engine engine = Engine.open()) {
        isTrue(engine.check(graph).contains("\"valid\":true"), "not valid");
        isTrue(engine.check(bytes, null).contains("\"valid\":true"), "not valid");
        isTrue(engine.check(new byte[0], null).contains("\"valid\":false"), "nothing is valid");
        try (Model model = Model.load(engine, bytes); Session session = new Session(model)) {
          equal(model.kind(), GraphKind.OP_GRAPH);
          equal(model.inputs().size(), 3);
          equal(model.outputs().get(0).dtype(), DType.F32);
          Tensor[] t = bind(session);
          session.run();
          float[] bound = t[3].toFloatArray();
          session.bind(Direction.OUTPUT, 0, null);
          for (int i = 0; i < 3; ++i) session.setInput(i, t[i]);
          session.run();
          equal(session.output(0).toFloatArray(), bound);
          equal(session.outputInfo(0).shape(), new long[] {1, 2, 3, 4});
          session.setInput(0, new float[24], 1, 2, 3, 4);
          refused(Constants.SAGE_E_INVALID_ARGUMENT, "not F64", () -> session.output(0, Tensor.allocate(DType.F64,
              12)));
          refused(Constants.SAGE_E_INVALID_ARGUMENT, "", () -> session.output(0, Tensor.allocate(DType.F32, 5)));
          refused(Constants.SAGE_E_NOT_FOUND, "", () -> session.outputInfo(9));
          refused(Constants.SAGE_E_INVALID_ARGUMENT, "", () -> session.setInput(0, Tensor.of(new double[24], 1, 2, 3,
              4)));
          refused(Constants.SAGE_E_INVALID_ARGUMENT, "", () -> session.setInput(0, new float[18], 1, 2, 3, 3));
          thrown(ShapeException.class, () -> session.setInput(0, new float[3], 1, 2, 3, 4));
          thrown(ShapeException.class, () -> session.setInput(0, t[0].reshape(24, 1).broadcast(24, 2)));
          thrown(NullPointerException.class, () -> session.setInput(0, (Tensor) null));
          isTrue(session.explain().contains("\"nodes\""), "no nodes");
          refused(Constants.SAGE_E_UNSUPPORTED, "", () -> session.tick("{\"ts\":1}"));
        }
        refused(Constants.SAGE_E_NOT_FOUND, "/nowhere/at/all.fbs", () -> Model.load(engine, "/nowhere/at/all.fbs"));
        refused(Constants.SAGE_E_BAD_DATA, "", () -> Model.load(engine, new byte[] {1, 2, 3}));
        thrown(NullPointerException.class, () -> Model.load(engine, (byte[]) null));
        thrown(NullPointerException.class, () -> Model.load(engine, (String) null));
        thrown(NullPointerException.class, () -> engine.check(null));
        thrown(NullPointerException.class, () -> engine.loadPlugin(null));
      }
    });
    test("a bound tensor may have strides, and is read where it lies", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, graph);
          Session session = new Session(model)) {
        Tensor[] t = bind(session);
        session.run();
        float[] want = t[3].toFloatArray();
        float[] wide = new float[48];
        float[] dense = t[0].toFloatArray();
        for (int i = 0; i < 24; ++i) wide[i / 4 * 8 + i % 4] = dense[i];
        session.bind(Direction.INPUT, 0, Tensor.of(wide, 48).strided(0, new long[] {1, 2, 3, 4}, new long[] {48, 24, 8,
            1}));
        session.run();
        equal(t[3].toFloatArray(), want);
      }
    });
    test("a cache is not appended to where its buffer is read-only", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, folder + "/cache.fbs");
          Session session = new Session(model)) {
        Tensor sevens = Tensor.of(new float[] {7, 7, 7, 7}, 4);
        Tensor token = Tensor.wrap(DType.F32, sevens.bytes().asReadOnlyBuffer(), 1, 1, 1, 4);
        Tensor[] cache = {Tensor.allocate(DType.F32, 1, 1, 8, 4), Tensor.allocate(DType.F32, 1, 1, 8, 4)};
        for (int i = 1; i < 3; ++i) {
          int index = i;
          Tensor readOnly = Tensor.wrap(DType.F32, cache[i - 1].bytes().asReadOnlyBuffer(), 1, 1, 8, 4);
          String want = "input " + i + " \"" + (i == 1 ? "k" : "v")
              + "\": the memory given is read-only, and node \"attention\" appends to it";
          refused(Constants.SAGE_E_INVALID_ARGUMENT, want, () -> session.bind(Direction.INPUT, index, readOnly));
          session.bind(Direction.INPUT, i, cache[i - 1]);
        }
        refused(Constants.SAGE_E_INVALID_ARGUMENT, "read-only", () -> session.bind(Direction.OUTPUT, 0, token));
        session.bind(Direction.INPUT, 0, token);
        session.bind(Direction.INPUT, 3, token);
        session.setInput(4, Tensor.of(new int[] {2}, 1));
        session.run();
        float[] want = new float[32];
        java.util.Arrays.fill(want, 8, 12, 7f);
        for (Tensor written : cache) equal(written.toFloatArray(), want);
      }
    });
    test("ticks give decisions, by stream and iterator; a bad one is answered and the stream goes on", () -> {
      try (Engine engine = Engine.open(); Model model = Model.load(engine, folder + "/metabolic.fbs");
          Session session = new Session(model)) {
        List<String> lines = List.of(tick(1, 0.9), tick(2, 1.4), "{", tick(3, 0.1));
        byte[] before = session.snapshot();
        List<Decision> decisions = session.ticks(lines.stream()).collect(Collectors.toList());
        equal(decisions.size(), 4);
        equal(decisions.get(0).state(), Optional.of(MetabolicState.FOCUS));
        isTrue(decisions.get(0).json().contains("T\u00fcr \uD83D\uDE00"), decisions.get(0).json());
        equal(decisions.get(1).error().get().status(), Constants.SAGE_E_BAD_DATA);
        isTrue(decisions.get(1).json().contains("SAGE_E_RANGE") && decisions.get(1).state().isEmpty(), "no record");
        isTrue(decisions.get(2).json().contains("SAGE_E_SYNTAX"), "no record");
        isTrue(decisions.get(3).error().isEmpty(), "refused");
        session.restore(before);
        List<String> again = new ArrayList<>();
        for (Iterator<Decision> each = session.ticks(lines.iterator()); each.hasNext();) again.add(each.next().json());
        equal(again, decisions.stream().map(Decision::json).collect(Collectors.toList()));
        equal(session.decision(), again.get(3));
        refused(Constants.SAGE_E_BAD_DATA, "", () -> session.restore(new byte[] {1}));
        refused(Constants.SAGE_E_BAD_DATA, "", () -> session.tick(""));
        thrown(NullPointerException.class, () -> session.tick(null));
        for (MetabolicState state : MetabolicState.values()) {
          String at = "{\"ts\":" + (10 + state.ordinal()) + ",\"state\":\"" + state + "\",\"targets\":[]}";
          equal(session.ticks(Stream.of(at)).findFirst().get().state(), Optional.of(state));
        }
        equal(MetabolicState.of("{\"x\":{\"state\":\"REST\"}}"), Optional.empty());
        equal(MetabolicState.of("{\"state\":null}"), Optional.empty());
        equal(MetabolicState.of("{\"state\":\"RES"), Optional.empty());
      }
    });
  }
}
