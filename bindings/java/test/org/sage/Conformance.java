// The conformance runner (tests/vectors/README.md): walks constants.txt and conformance.txt and prints what they give.
package org.sage;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.TreeMap;

public final class Conformance {
  final Transcript out;
  final Path folder;
  final String plugin;

  private Options engineOptions;
  Options planOptions;
  private Engine engine;
  private boolean engineFailed;
  private int place;
  private AttentionOp op;
  private TreeMap<Integer, Tensor> results;
  private AttentionPlan plan;
  private final ModelSteps models = new ModelSteps(this);
  private Gate.Decision decision;

  private Conformance(String folder, String plugin) {
    this.folder = Path.of(folder);
    this.plugin = plugin;
    out = new Transcript(new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out))), folder);
  }

  public static void main(String[] arguments) throws IOException {
    new Conformance(arguments[0], arguments[1]).walk();
  }

  private void walk() throws IOException {
    for (String line : Files.readAllLines(folder.resolve("constants.txt"))) {
      String name = line.split(" ")[1];
      out.line("constant " + name + " " + constant(name));
    }
    List<String> lines = Files.readAllLines(folder.resolve("conformance.txt"));
    if (!lines.get(0).equals("sage-vectors 1")) throw new IOException("conformance.txt is of another version than 1");
    for (String line : lines.subList(1, lines.size())) {
      if (line.isEmpty() || line.startsWith("#")) continue;
      String[] words = line.split(" ");
      try {
        step(words, line.contains(" ") ? line.substring(line.indexOf(' ') + 1) : "");
      } catch (SageException error) {
        out.sayError(error);
      }
    }
    endCase();
    out.end();
  }

  private static String constant(String name) {
    try {
      return Constants.class.getField(name).get(null).toString();
    } catch (ReflectiveOperationException none) {
      return "missing";
    }
  }

  private void beginCase(String name) {
    endCase();
    out.name = name;
    engineOptions = new Options();
    planOptions = new Options();
    engineFailed = false;
    place = 0;
    op = new AttentionOp();
    results = new TreeMap<>();
    decision = new Gate.Decision(new int[8]);
  }

  private void endCase() {
    models.close();
    if (plan != null) plan.close();
    if (engine != null) engine.close();
    plan = null;
    engine = null;
  }

  /** Made at first need; null: the step is over. */
  Engine engine() {
    if (engine != null) return engine;
    if (engineFailed) {
      out.say("skipped");
      return null;
    }
    engineFailed = true;
    engine = Engine.open(engineOptions);
    engineFailed = false;
    return engine;
  }

  boolean without(Object object) {
    if (object == null) out.say("skipped");
    return object == null;
  }

  /** Memory at the place that was asked for, every byte a5. */
  Tensor room(DType dtype, long[] shape) {
    int bytes = (int) Tensor.describe(dtype, shape).sizeInBytes();
    ByteBuffer memory = ByteBuffer.allocateDirect(bytes + 128 + place).alignedSlice(64);
    memory.position(place).limit(place + bytes);
    byte[] fill = new byte[bytes];
    Arrays.fill(fill, (byte) 0xa5);
    memory.slice().put(fill);
    return Tensor.wrap(dtype, memory, shape);
  }

  Tensor filled(DType dtype, long[] shape, byte[] bytes) {
    Tensor made = room(dtype, shape);
    made.bytes().put(bytes);
    return made;
  }

  private void step(String[] words, String rest) throws IOException {
    switch (words[0]) {
      case "case":
        beginCase(words[1]);
        break;
      case "option":
        engineOptions.set(words[1], words[2]);
        break;
      case "plan_option":
        planOptions.set(words[1], words[2]);
        break;
      case "place":
        place = Integer.parseInt(words[1]);
        break;
      case "tensor":
        tensor(words, Transcript.bytes(words[4]));
        break;
      case "result":
        tensor(words, null);
        break;
      case "strides": {
        Slot slot = Slot.of(Integer.parseInt(words[1]));
        Tensor dense = op.slot(slot);
        op.slot(slot, dense.strided(0, dense.shape(), Transcript.shape(words[2])));
        break;
      }
      case "set":
        if (words[1].equals("scale") || words[1].equals("softcap") || words[1].equals("dropout_p"))
          op.set(words[1], Double.parseDouble(words[2]));
        else
          op.set(words[1], Long.parseUnsignedLong(words[2]));
        break;
      case "flat":
        flat(Integer.parseInt(words[1]), Integer.parseInt(words[2]), Double.parseDouble(words[3]));
        break;
      case "features":
        out.say("features " + Transcript.hex(op.features()));
        break;
      case "plan":
        plan();
        break;
      case "memory":
        if (without(plan)) break;
        AttentionMemory m = plan.memory();
        out.say("memory " + m.q + " " + m.k + " " + m.v + " " + m.o + " " + m.other + " " + m.scores + " "
            + m.totalWithScores);
        break;
      case "explain":
        if (models.session == null && without(plan)) break;
        out.say(Transcript.isJsonWith(models.session != null ? models.session.explain() : plan.explain(), "reference")
            ? "explain json" : "explain is no JSON that names reference");
        break;
      case "attend":
        attend();
        break;
      case "mincut_mask": {
        byte[] mask = Mincut.mask(Long.parseLong(words[1]), Long.parseLong(words[2])).toByteArray();
        out.say("kept " + ones(mask) + " " + Transcript.hashOf(mask));
        break;
      }
      case "mincut_csr": {
        Mincut.Csr csr = Mincut.csr(Long.parseLong(words[1]), Long.parseLong(words[2]), Integer.parseInt(words[3]),
            Integer.parseInt(words[4]));
        out.say("kept " + csr.indices().count() + " " + Transcript.hashOf(csr.indptr().toByteArray()) + " "
            + Transcript.hashOf(csr.indices().toByteArray()));
        break;
      }
      case "mincut_blocks": {
        byte[] blocks = Mincut.blocks(Long.parseLong(words[1]), Long.parseLong(words[2]), Integer.parseInt(words[3]),
            Integer.parseInt(words[4])).toByteArray();
        out.say("kept " + ones(blocks) + " " + Transcript.hashOf(blocks));
        break;
      }
      case "gate":
        gate(words);
        break;
      case "gate_apply": {
        AttentionOp empty = new AttentionOp().set("alignment", Long.parseLong(words[1]));
        Gate.apply(decision, empty);
        out.say("features " + Transcript.hex(empty.get("features")) + " window_left " + empty.get("window_left"));
        break;
      }
      case "quantize":
        quantize(words);
        break;
      case "dequantize":
        quantization(words, 3).dequantize(lent(words[1]), lent(words[2]), lent(words[5]));
        out.say("SAGE_OK");
        saySlot(words[5]);
        break;
      case "scenario":
        new Scenarios(this).run(words[1]);
        break;
      default:
        models.step(words, rest);
    }
  }

  private static int ones(byte[] bytes) {
    int count = 0;
    for (byte b : bytes) count += b;
    return count;
  }

  private void tensor(String[] words, byte[] bytes) {
    int slot = Integer.parseInt(words[1]);
    DType dtype = Transcript.dtype(words[2]);
    long[] shape = Transcript.shape(words[3]);
    Tensor made = bytes == null ? room(dtype, shape) : filled(dtype, shape, bytes);
    op.slot(Slot.of(slot), made);
    if (bytes == null) results.put(slot, made);
    else results.remove(slot);
  }

  private void flat(int layout, int causal, double scale) {
    Engine on = engine();
    if (on == null) return;
    Tensor q = op.slot(Slot.Q);
    Tensor k = op.slot(Slot.K);
    Tensor v = op.slot(Slot.V);
    Tensor o = op.slot(Slot.O);
    int heads = layout == 1 ? 2 : 1;
    int rows = layout == 1 ? 1 : 2;
    AttentionShape shape = new AttentionShape().batch(q.shape()[0]).heads(q.shape()[heads], k.shape()[heads])
        .sequence(q.shape()[rows], k.shape()[rows]).dim(q.shape()[3], v.shape()[3]).scale(scale);
    shape.layout = layout; // also numbers that no Layout has
    shape.causal = causal;
    on.attention(shape, q, k, v, o);
    out.say("SAGE_OK");
    out.sayBytes("slot 3", o.toByteArray());
  }

  private void plan() {
    Engine on = engine();
    if (on == null) return;
    if (plan != null) plan.close();
    plan = null;
    plan = new AttentionPlan(on, op, planOptions);
    out.say("plan " + plan.backend());
  }

  private void attend() {
    if (without(plan)) return;
    try (AttentionContext context = new AttentionContext(plan)) {
      context.run(op);
    }
    out.say("SAGE_OK");
    TreeMap<Integer, Tensor> written = new TreeMap<>(results);
    for (Slot slot : Slot.values())
      if ((op.get("aliases") >>> slot.index() & 1) != 0) written.put(slot.index(), op.slot(slot));
    written.forEach((slot, tensor) -> out.sayBytes("slot " + slot, tensor.toByteArray()));
  }

  /** Of a slot by its number; null for "-". */
  private Tensor lent(String word) {
    return word.equals("-") ? null : op.slot(Slot.of(Integer.parseInt(word)));
  }

  private void saySlot(String word) {
    if (!word.equals("-")) out.sayBytes("slot " + word, lent(word).toByteArray());
  }

  /** mean: where the mean's slot stands, that of cu_seqlens behind it. */
  private Quantization quantization(String[] words, int mean) {
    return new Quantization(Integer.parseInt(words[6])).scaleBlock(Integer.parseInt(words[7])).mean(lent(words[mean]))
        .cuSeqlens(lent(words[mean + 1]));
  }

  private void quantize(String[] words) {
    Quantization by = quantization(words, 4);
    boolean given = words[8].equals("1");
    Tensor x = lent(words[1]);
    Tensor codes = lent(words[2]);
    Tensor scale = lent(words[3]);
    QuantizeReport r = given ? by.quantizeWith(x, codes, scale) : by.quantize(x, codes, scale);
    out.say("SAGE_OK");
    out.say("report " + r.elements + " " + r.saturated + " " + r.zeroGroups + " " + r.codeBytes + " " + r.scaleBytes
        + " " + Transcript.hex(Double.doubleToRawLongBits(r.maxAbsError)) + " "
        + Transcript.hex(Double.doubleToRawLongBits(r.rmsError)));
    saySlot(words[2]);
    if (!given) saySlot(words[3]);
    saySlot(words[4]);
  }

  private void gate(String[] words) {
    Gate.Packet packet = new Gate.Packet();
    Gate.Policy policy = null;
    int[][] tiers = new int[Gate.Tier.values().length][3];
    for (String word : words) {
      if (!word.contains("=")) continue;
      String field = word.substring(0, word.indexOf('='));
      int value = Integer.parseUnsignedInt(word.substring(word.indexOf('=') + 1));
      if (field.startsWith("policy.") && policy == null) policy = new Gate.Policy();
      switch (field) {
        case "flags":
          packet.flags(value);
          break;
        case "lambda":
          packet.lambda(value);
          break;
        case "lambda_prev":
          packet.lambdaPrev(value);
          break;
        case "boundary_edges":
          packet.boundaryEdges(value);
          break;
        case "boundary_concentration_q15":
          packet.boundaryConcentrationQ15(value);
          break;
        case "partition_count":
          packet.partitionCount(value);
          break;
        case "spike_fired":
          packet.spikeFired(value);
          break;
        case "spike_rate_q15":
          packet.spikeRateQ15(value);
          break;
        case "policy.lambda_min":
          policy.lambdaMin(value);
          break;
        case "policy.drop_ratio_q15_max":
          policy.dropRatioQ15Max(value);
          break;
        case "policy.boundary_edges_max":
          policy.boundaryEdgesMax(value);
          break;
        case "policy.boundary_concentration_q15_max":
          policy.boundaryConcentrationQ15Max(value);
          break;
        case "policy.partitions_max":
          policy.partitionsMax(value);
          break;
        case "policy.spike_rate_q15_max":
          policy.spikeRateQ15Max(value);
          break;
        default:
          ofTier(tiers, field, value);
          break;
      }
    }
    for (Gate.Tier tier : Gate.Tier.values()) {
      int[] numbers = tiers[tier.ordinal()];
      if (policy != null) policy.tier(tier, numbers[0], numbers[1], numbers[2]);
    }
    decision = new Gate.Decision(new int[8]);
    decision = Gate.decide(packet, policy);
    out.say("gate " + decision.verdict().code() + " " + decision.tier() + " " + decision.dropRatioQ15() + " "
        + decision.layers() + " " + decision.sequence() + " " + decision.window());
  }

  // field: policy.TIER.FIELD
  private static void ofTier(int[][] tiers, String field, int value) {
    String[] parts = field.split("\\.");
    int number = parts.length == 3 ? List.of("layers", "sequence", "window").indexOf(parts[2]) : -1;
    if (number < 0) throw new IllegalArgumentException(field);
    tiers[Gate.Tier.valueOf(parts[1].toUpperCase(Locale.ROOT)).ordinal()][number] = value;
  }
}
