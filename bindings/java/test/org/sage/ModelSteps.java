// The conformance runner's models and sessions.
package org.sage;

import java.io.IOException;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

final class ModelSteps {
  private final Conformance runner;
  private Model model;
  Session session;
  private final Map<Integer, Tensor> bound = new HashMap<>();
  private byte[] snapshot;

  ModelSteps(Conformance runner) {
    this.runner = runner;
  }

  void close() {
    if (session != null) session.close();
    if (model != null) model.close();
    session = null;
    model = null;
    snapshot = null;
    bound.clear();
  }

  void step(String[] words, String rest) throws IOException {
    Transcript out = runner.out;
    switch (words[0]) {
      case "model":
      case "model_bytes":
        load(words[1], words[0].equals("model_bytes"));
        return;
      case "check":
      case "check_bytes": {
        Engine engine = runner.engine();
        if (engine == null) return;
        String path = runner.folder + "/" + words[1];
        String text = words[0].equals("check") ? engine.check(path)
            : engine.check(Files.readAllBytes(runner.folder.resolve(words[1])), null);
        out.say("valid " + Transcript.isJsonWith(text, "\"valid\":true"));
        return;
      }
      case "session":
        if (runner.without(model)) return;
        if (session != null) session.close();
        session = null;
        bound.clear();
        session = new Session(model, runner.planOptions);
        out.say("SAGE_OK");
        return;
      default:
        break;
    }
    if (runner.without(session)) return;
    switch (words[0]) {
      case "input": {
        DType dtype = Transcript.dtype(words[2]);
        session.setInput(Integer.parseInt(words[1]), runner.filled(dtype, Transcript.shape(words[3]),
            Transcript.bytes(words[4])));
        out.say("SAGE_OK");
        break;
      }
      case "bind": {
        boolean output = words[1].equals("output");
        int index = Integer.parseInt(words[2]);
        Tensor memory = runner.room(Transcript.dtype(words[3]), Transcript.shape(words[4]));
        if (!output) memory.bytes().put(Transcript.bytes(words[5]));
        session.bind(output ? Direction.OUTPUT : Direction.INPUT, index, memory);
        if (output) bound.put(index, memory);
        out.say("SAGE_OK");
        break;
      }
      case "run":
        session.run();
        out.say("SAGE_OK");
        for (int i = 0; i < model.outputs().size(); ++i) {
          TensorInfo info = session.outputInfo(i);
          Tensor data = bound.containsKey(i) ? bound.get(i) : session.output(i);
          out.sayBytes("output " + i + " " + Transcript.text(info.dtype()) + " " + Transcript.text(info.shape()),
              data.toByteArray());
        }
        break;
      case "trace":
        out.say(Transcript.isJsonWith(session.trace(), "\"traceEvents\"") ? "trace json"
            : "trace is no JSON with traceEvents");
        break;
      case "accuracy":
        out.say(Transcript.isJsonWith(session.accuracy(), "\"rel_l1\"") ? "accuracy json"
            : "accuracy is no JSON with rel_l1");
        break;
      case "tick":
        try {
          session.tick(rest);
          out.say("SAGE_OK");
        } catch (SageException refused) {
          out.sayError(refused);
        }
        out.say(session.decision());
        break;
      case "snapshot":
        snapshot = session.snapshot();
        out.say("snapshot " + snapshot.length + " " + Transcript.hashOf(snapshot));
        break;
      case "restore":
      case "restore_damaged": {
        if (runner.without(snapshot)) return;
        byte[] bytes = snapshot.clone();
        if (words[0].equals("restore_damaged")) bytes[bytes.length - 1] ^= 1;
        session.restore(bytes);
        out.say("SAGE_OK");
        break;
      }
      default:
        throw new IllegalArgumentException("no such step: " + words[0]);
    }
  }

  private void load(String file, boolean asBytes) throws IOException {
    Engine engine = runner.engine();
    if (engine == null) return;
    if (model != null) model.close();
    model = null;
    model = asBytes ? Model.load(engine, Files.readAllBytes(runner.folder.resolve(file)))
        : Model.load(engine, runner.folder + "/" + file);
    runner.out.say("model " + model.kind().code());
    say("input", model.inputs());
    say("output", model.outputs());
  }

  private void say(String direction, List<TensorInfo> infos) {
    for (int i = 0; i < infos.size(); ++i)
      runner.out.say(direction + " " + i + " " + infos.get(i).name() + " " + Transcript.text(infos.get(i).dtype()) + " "
          + Transcript.text(infos.get(i).shape()));
  }
}
