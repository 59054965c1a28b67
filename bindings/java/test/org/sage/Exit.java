// A program that ends while a run asks its cancel callback, on the engine's threads too: it ends at once, without a crash.
package org.sage;

import java.util.concurrent.CountDownLatch;

public final class Exit {
  private Exit() {}

  public static void main(String[] arguments) throws InterruptedException {
    CountDownLatch asked = new CountDownLatch(20);
    Tensor t = Tensor.allocate(DType.F32, 1, 16, 4096, 64);
    AttentionOp op = new AttentionOp(t, t, t, Tensor.allocate(DType.F32, 1, 16, 4096, 64));
    Options options = new Options().cancel(() -> {
      asked.countDown();
      return false;
    });
    Engine engine = Engine.open(new Options().set("threads", "2"));
    AttentionPlan plan = new AttentionPlan(engine, op, options);
    AttentionContext context = new AttentionContext(plan);
    Thread runner = new Thread(() -> {
      while (true) context.run(op);
    });
    runner.setDaemon(arguments.length > 0);
    runner.start();
    asked.await();
    System.out.println("ends in the middle");
    if (arguments.length == 0) System.exit(0); // else by returning: what runs is a daemon
  }
}
