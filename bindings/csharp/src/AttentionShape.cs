// The numbers of the plain attention call, by name: eleven of them in a row would be mixed up.
namespace Sage
{
    /// <summary>Sizes of a plain attention call, in elements; all 1 until they are set. Not to be changed while a call
    /// uses it.</summary>
    public sealed class AttentionShape
    {
        public AttentionShape()
        {
            Batch = HeadsQ = HeadsKv = SeqQ = SeqKv = DimQk = 1;
        }

        public long Batch { get; set; }

        /// <summary>A multiple of HeadsKv.</summary>
        public long HeadsQ { get; set; }

        public long HeadsKv { get; set; }
        public long SeqQ { get; set; }
        public long SeqKv { get; set; }

        /// <summary>Width of queries and keys.</summary>
        public long DimQk { get; set; }

        /// <summary>Width of values; 0: DimQk.</summary>
        public long DimV { get; set; }

        public Layout Layout { get; set; }
        public Alignment Causal { get; set; }

        /// <summary>0: 1/sqrt(DimQk). A true 0 takes a plan.</summary>
        public double Scale { get; set; }

        internal long WidthV
        {
            get { return DimV == 0 ? DimQk : DimV; }
        }

        /// <summary>The lengths of the four arrays, in elements, are those of the shape.</summary>
        internal void Check(long q, long k, long v, long o)
        {
            Expect("q", q, HeadsQ, SeqQ, DimQk);
            Expect("k", k, HeadsKv, SeqKv, DimQk);
            Expect("v", v, HeadsKv, SeqKv, WidthV);
            Expect("o", o, HeadsQ, SeqQ, WidthV);
        }

        private void Expect(string name, long given, long heads, long sequence, long dim)
        {
            if ((Batch | heads | sequence | dim) < 0)
                throw new ShapeException(name + " has a negative length in its shape");
            long count;
            try
            {
                count = checked(Batch * heads * (sequence * dim));
            }
            catch (System.OverflowException)
            {
                throw new ShapeException("the shape of " + name + " has too many elements");
            }
            if (given != count) throw new ShapeException(name + " has " + given + " elements; its shape says " + count);
        }
    }
}
