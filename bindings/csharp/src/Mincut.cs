// Masks of a partition of the sequence, ready for an attention's slots.
using System;

namespace Sage
{
    /// <summary>Which keys a query need not see, where the sequence falls into `parts` chunks: its own chunk up to
    /// itself, and of every earlier chunk the first token. One mask in three forms; sage/sparse.h has the rule. Pure
    /// functions.</summary>
    public static class Mincut
    {
        /// <summary>Bool [1,1,seq,seq], for Slot.Mask; Broadcast gives it to more heads.</summary>
        public static Tensor Mask(long seq, long parts)
        {
            Library.Load();
            SageNative.mincut_mask(seq, parts, IntPtr.Zero, 0); // what it refuses, it refuses before memory is made
            Errors.Check();
            Tensor mask = Tensor.Allocate(DType.Bool, 1, 1, seq, seq);
            SageNative.mincut_mask(seq, parts, mask.Address, (ulong)mask.SizeInBytes);
            Errors.Check();
            GC.KeepAlive(mask);
            return mask;
        }

        /// <summary>Kept tiles by rows, for Slot.CsrIndptr and Slot.CsrIndices; tiles of 1x1 are positions.</summary>
        public static CsrMask Csr(long seq, long parts, uint tileQ = 1, uint tileKv = 1)
        {
            Library.Load();
            ulong kept = SageNative.mincut_csr(seq, parts, tileQ, tileKv, IntPtr.Zero, 0, IntPtr.Zero, 0);
            Errors.Check();
            Tensor indptr = Tensor.Allocate(DType.I32, 1, 1, Tiles(seq, tileQ) + 1);
            Tensor indices = Tensor.Allocate(DType.I32, (long)kept);
            SageNative.mincut_csr(seq, parts, tileQ, tileKv, indptr.Address, (ulong)indptr.Count, indices.Address,
                kept);
            Errors.Check();
            GC.KeepAlive(indptr);
            GC.KeepAlive(indices);
            return new CsrMask(indptr, indices);
        }

        /// <summary>U8 [1,1,ceil(seq/tileQ),ceil(seq/tileKv)], 1 = kept, for Slot.BlockMask.</summary>
        public static Tensor Blocks(long seq, long parts, uint tileQ, uint tileKv)
        {
            Library.Load();
            SageNative.mincut_blocks(seq, parts, tileQ, tileKv, IntPtr.Zero, 0);
            Errors.Check();
            Tensor blocks = Tensor.Allocate(DType.U8, 1, 1, Tiles(seq, tileQ), Tiles(seq, tileKv));
            SageNative.mincut_blocks(seq, parts, tileQ, tileKv, blocks.Address, (ulong)blocks.SizeInBytes);
            Errors.Check();
            GC.KeepAlive(blocks);
            return blocks;
        }

        private static long Tiles(long seq, uint tile)
        {
            return (seq + tile - 1) / tile;
        }
    }

    /// <summary>The kept tiles of each row, one row after the other.</summary>
    public sealed class CsrMask
    {
        internal CsrMask(Tensor indptr, Tensor indices)
        {
            Indptr = indptr;
            Indices = indices;
        }

        /// <summary>I32 [1,1,rows+1]: where a row begins in the indices.</summary>
        public Tensor Indptr { get; private set; }

        /// <summary>I32 [kept]: columns, ascending within a row.</summary>
        public Tensor Indices { get; private set; }
    }
}
