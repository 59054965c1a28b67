// Ticks.java: a SAGE graph at work: a stream of ticks, one JSON object a line, to a stream of decisions.
//   sage-engine convert metabolic.json metabolic.fbs
//   java -cp sage-engine.jar:. Ticks metabolic.fbs metabolic.jsonl
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.sage.Decision;
import org.sage.Engine;
import org.sage.MetabolicState;
import org.sage.Model;
import org.sage.Session;

public final class Ticks {
  public static void main(String[] arguments) throws IOException {
    int[] count = new int[2];
    int[] inState = new int[MetabolicState.values().length];
    try (Engine engine = Engine.open(); Model model = Model.load(engine, arguments[0]);
        Session session = new Session(model);
        Stream<String> lines = Files.lines(Path.of(arguments[1]))) {
      session.ticks(lines).forEach(decision -> {
        ++count[decision.error().isPresent() ? 1 : 0];
        decision.state().ifPresent(state -> ++inState[state.ordinal()]);
        report(decision);
      });
      byte[] state = session.snapshot(); // to go on from, in another process
      System.out.println("state of " + state.length + " bytes");
    }
    for (MetabolicState state : MetabolicState.values()) System.out.println(state + " " + inState[state.ordinal()]);
    System.out.println(count[0] + " ticks, " + count[1] + " refused");
  }

  private static void report(Decision decision) {
    decision.error().ifPresent(error -> System.out.println("refused: " + error.getMessage()));
  }
}
