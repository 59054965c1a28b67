// What a tick answered.
using System;

namespace Sage
{
    /// <summary>The record of one tick of a stream: a decision, or why the tick was refused.</summary>
    public sealed class Decision
    {
        private const string Key = "\"state\":\"";

        internal Decision(string json, SageException error)
        {
            Json = json;
            Error = error;
        }

        /// <summary>One JSON object without a newline; of a refused tick its error record.</summary>
        public string Json { get; private set; }

        /// <summary>Null where the tick was taken.</summary>
        public SageException Error { get; private set; }

        /// <summary>After the tick; null for graphs without states and for refused ticks.</summary>
        public MetabolicState? State
        {
            get { return Error == null ? StateOf(Json) : null; }
        }

        /// <summary>The state that a decision's JSON names, or null.</summary>
        public static MetabolicState? StateOf(string json)
        {
            // The keys' order is fixed, and before this one are numbers only: it is not inside somebody's text.
            if (json == null) throw new ArgumentNullException("json");
            int at = json.IndexOf(Key, StringComparison.Ordinal);
            if (at < 0 || json.LastIndexOf('{', at) != 0) return null;
            int begin = at + Key.Length;
            foreach (MetabolicState state in Enum.GetValues(typeof(MetabolicState)))
            {
                string name = state + "\"";
                if (string.Compare(json, begin, name, 0, name.Length, StringComparison.OrdinalIgnoreCase) == 0)
                    return state;
            }
            return null;
        }

        public override string ToString()
        {
            return Json;
        }
    }
}
