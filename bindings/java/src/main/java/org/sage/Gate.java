// How much of a model is worth running, decided from what was seen of the token graph.
//
// Packet, policy and decision are words in the order of the C structs' fields, which sage_flat.h asserts.
package org.sage;

import java.lang.ref.Reference;

/** The gate of {@code sage/sparse.h}. Pure functions, any thread; fractions are q15: 0 to 32767 stands for 0 to 1. */
public final class Gate {
  private Gate() {}

  /** @param policy null: all defaults */
  public static Decision decide(Packet packet, Policy policy) {
    Sage.load();
    int[] out = new int[8];
    SageNative.gate_decide(packet.words, policy == null ? null : policy.words, out);
    return new Decision(out);
  }

  /** Writes the decision's window into op, whose alignment must be set; refused where nothing is to be run. */
  public static void apply(Decision decision, AttentionOp op) {
    SageNative.gate_apply(decision.words, op.raw());
    Reference.reachabilityFence(op);
  }

  /** What was seen; 0 until set. */
  public static final class Packet {
    private final int[] words = new int[10];

    /** {@code Constants.SAGE_GATE_SKIP}, {@code _FORCE_SAFE}, {@code _SPIKE}. */
    public Packet flags(int value) {
      return word(1, value);
    }

    /** Weight of the minimum cut. */
    public Packet lambda(int value) {
      return word(2, value);
    }

    public Packet lambdaPrev(int value) {
      return word(3, value);
    }

    public Packet boundaryEdges(int value) {
      return word(4, value);
    }

    public Packet boundaryConcentrationQ15(int value) {
      return word(5, value);
    }

    public Packet partitionCount(int value) {
      return word(6, value);
    }

    /** 0: nothing happened since. Meant with {@code SAGE_GATE_SPIKE}. */
    public Packet spikeFired(int value) {
      return word(7, value);
    }

    public Packet spikeRateQ15(int value) {
      return word(8, value);
    }

    private Packet word(int index, int value) {
      words[index] = value;
      return this;
    }
  }

  /** A tier: how much is run. */
  public enum Tier {
    NORMAL,
    REDUCED,
    SAFE
  }

  /** Limits and tiers; 0 is the default. */
  public static final class Policy {
    private final int[] words = new int[20];

    public Policy lambdaMin(int value) {
      return word(1, value);
    }

    public Policy dropRatioQ15Max(int value) {
      return word(2, value);
    }

    public Policy boundaryEdgesMax(int value) {
      return word(3, value);
    }

    public Policy boundaryConcentrationQ15Max(int value) {
      return word(4, value);
    }

    public Policy partitionsMax(int value) {
      return word(5, value);
    }

    public Policy spikeRateQ15Max(int value) {
      return word(6, value);
    }

    /** Layers from the first, newest tokens, keys that a query sees, itself included. */
    public Policy tier(Tier tier, int layers, int sequence, int window) {
      int at = 8 + 4 * tier.ordinal();
      return word(at, layers).word(at + 1, sequence).word(at + 2, window);
    }

    private Policy word(int index, int value) {
      words[index] = value;
      return this;
    }
  }

  /** Why. */
  public enum Verdict {
    ALLOW(Constants.SAGE_GATE_ALLOW),
    REDUCE_SCOPE(Constants.SAGE_GATE_REDUCE_SCOPE),
    FLUSH_KV(Constants.SAGE_GATE_FLUSH_KV),
    QUARANTINE(Constants.SAGE_GATE_QUARANTINE),
    STORM(Constants.SAGE_GATE_STORM),
    FORCED(Constants.SAGE_GATE_FORCED),
    QUIET(Constants.SAGE_GATE_QUIET),
    SKIPPED(Constants.SAGE_GATE_SKIPPED);

    private final int code;

    Verdict(int code) {
      this.code = code;
    }

    /** {@code Constants.SAGE_GATE_*}. */
    public int code() {
      return code;
    }
  }

  /** What the gate says. */
  public static final class Decision {
    private final int[] words;

    Decision(int[] words) {
      this.words = words;
    }

    public Verdict verdict() {
      for (Verdict verdict : Verdict.values()) if (verdict.code == words[1]) return verdict;
      throw new SageException(Constants.SAGE_E_ABI_MISMATCH, "verdict " + words[1] + " is newer than this package");
    }

    /** 0 normal, 1 reduced, 2 safe, 3 nothing is run. */
    public int tier() {
      return words[2];
    }

    /** 0 where lambda rose. */
    public int dropRatioQ15() {
      return words[3];
    }

    public int layers() {
      return words[4];
    }

    public int sequence() {
      return words[5];
    }

    /** Keys that a query sees, itself included. */
    public int window() {
      return words[6];
    }
  }
}
