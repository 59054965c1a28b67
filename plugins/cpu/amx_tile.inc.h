// amx_tile.inc.h: the few AMX instructions that the kernels use, under names of their own.
//
// Eight tile registers of 16 rows by 64 bytes, one shape for all, set once a task: Configure and Release around it. Not
// the compiler's intrinsics: those of GCC 12 name registers by literal digits only, which templates cannot pass on, and
// do not tell the compiler that tile loads read memory. tests/plugins/cpu/amx_emulation.inc.h has the same names in
// portable C++, for machines without AMX.
//
// Included inside an anonymous namespace. Entered only where AmxUsable() said yes.
struct Tiles {
  // Every register 16 rows by 64 bytes (palette 1), and zero.
  static void Configure() {
    struct {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } shape = {};
    static_assert(sizeof shape == 64);
    shape.palette = 1;
    for (int t = 0; t < 8; ++t) shape.row_bytes[t] = 64, shape.rows[t] = 16;
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
  }
  // Nothing to save for the operating system any more, and no shape left behind for other users of the tiles.
  static void Release() { __asm__ volatile("tilerelease"); }

  template <int kTile>
  static void Zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  // 64 bytes from each of 16 rows, `stride` bytes apart.
  template <int kTile>
  static void Load(const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void Store(void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  // Floats c[m][n] += sum over k of a[m][2k] b[k][2n] + a[m][2k+1] b[k][2n+1], a and b bf16.
  template <int kC, int kA, int kB>
  static void Multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  // 32-bit integers c[m][n] += sum over k and i < 4 of a[m][4k+i] b[k][4n+i], b signed bytes, a signed or not. Only
  // where the processor has these besides (plugins/int8/amx_int8_usable.h).
  template <int kC, int kA, int kB>
  static void MultiplySigned() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  static void MultiplyUnsigned() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
};
