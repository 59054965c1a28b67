// All tests of the Java binding: java org.sage.Tests FOLDER, the folder of the conformance vectors.
package org.sage;

public final class Tests {
  private Tests() {}

  public static void main(String[] arguments) {
    AttentionTests.run();
    TensorTests.run();
    QuantizeTests.run(arguments[0]);
    ModelTests.run(arguments[0]);
    LifetimeTests.run(arguments[0]);
    System.exit(Check.report());
  }
}
