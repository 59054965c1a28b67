// Ticks.cs: a SAGE graph at work: a stream of ticks, one JSON object a line, to a stream of decisions.
//   sage-engine convert metabolic.json metabolic.fbs
//   mcs -r:Sage.dll Ticks.cs && mono Ticks.exe metabolic.fbs metabolic.jsonl
using System;
using System.Collections.Generic;
using System.IO;
using Sage;

public static class Example
{
    public static void Main(string[] arguments)
    {
        int taken = 0, refused = 0;
        Dictionary<MetabolicState, int> inState = new Dictionary<MetabolicState, int>();
        using (Engine engine = Engine.Open())
        using (Model model = Model.Load(engine, arguments[0]))
        using (Session session = new Session(model))
        {
            foreach (Decision decision in session.Ticks(File.ReadLines(arguments[1])))
            {
                if (decision.Error != null)
                {
                    ++refused;
                    Console.WriteLine("refused: " + decision.Error.Message);
                    continue;
                }
                ++taken;
                if (!decision.State.HasValue) continue;
                int before;
                inState.TryGetValue(decision.State.Value, out before);
                inState[decision.State.Value] = before + 1;
            }
            byte[] state = session.Snapshot(); // to go on from, in another process
            Console.WriteLine("state of " + state.Length + " bytes");
        }
        foreach (KeyValuePair<MetabolicState, int> one in inState) Console.WriteLine(one.Key + " " + one.Value);
        Console.WriteLine(taken + " ticks, " + refused + " refused");
    }
}
