// What a conformance runner prints: lines counted into a digest, and the values in them.
package org.sage;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

final class Transcript {
  private final PrintStream out;
  private final String folder;
  private long digest = 0xcbf29ce484222325L;
  String name;

  Transcript(PrintStream out, String folder) {
    this.out = out;
    this.folder = folder;
  }

  void line(String text) {
    byte[] bytes = (text + "\n").getBytes(StandardCharsets.UTF_8);
    digest = hash(digest, bytes);
    out.write(bytes, 0, bytes.length);
  }

  /** A line of the case; where FOLDER lies is nobody's business. */
  void say(String text) {
    line(name + ": " + text.replace(folder, "FOLDER"));
  }

  void sayError(SageException error) {
    say(error.statusName() + " " + error.getMessage().replace('\n', '|'));
  }

  void sayBytes(String what, byte[] bytes) {
    say(what + " " + hashOf(bytes) + " " + hex(bytes, 16));
  }

  void end() {
    out.print("digest " + hex(digest) + "\n");
    out.flush();
  }

  static String hashOf(byte[] bytes) {
    return hex(hash(0xcbf29ce484222325L, bytes));
  }

  private static long hash(long start, byte[] bytes) {
    long hash = start;
    for (byte b : bytes) hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
    return hash;
  }

  static String hex(long value) {
    return String.format("%016x", value);
  }

  private static String hex(byte[] bytes, int most) {
    if (bytes.length == 0) return "-";
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < Math.min(bytes.length, most); ++i) text.append(String.format("%02x", bytes[i]));
    return text.toString();
  }

  static byte[] bytes(String hex) {
    byte[] bytes = new byte[hex.equals("-") ? 0 : hex.length() / 2];
    for (int i = 0; i < bytes.length; ++i) bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
    return bytes;
  }

  static long[] shape(String text) {
    if (text.equals("scalar")) return new long[0];
    return Arrays.stream(text.split(",")).mapToLong(Long::parseLong).toArray();
  }

  static String text(long[] shape) {
    if (shape.length == 0) return "scalar";
    return Arrays.stream(shape).mapToObj(Long::toString).collect(Collectors.joining(","));
  }

  static DType dtype(String name) {
    return DType.valueOf(name.toUpperCase(Locale.ROOT));
  }

  static String text(DType dtype) {
    return dtype.name().toLowerCase(Locale.ROOT);
  }

  static boolean isJsonWith(String text, String part) {
    return text.startsWith("{") && text.endsWith("}") && text.contains(part);
  }
}
