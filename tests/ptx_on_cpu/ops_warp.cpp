#include <cstring>

#include "ops.h"

// What a warp does together: shuffles, ldmatrix and mma.sync, each by all 32 lanes. The places of a fragment's numbers
// are those of the PTX ISA's tables: with g = lane / 4 and t = lane % 4,
//
//   m16n8k16, bf16: a has 8 numbers: row g for 0, 1, 4, 5 and g + 8 for the others; column 2t + (i & 1), + 8 from 4 on.
//                   b has 4 numbers: row 2t + (i & 1), + 8 from 2 on; column g.
//   m16n8k8, tf32:  a has 4 numbers: row g for 0 and 2, g + 8 for 1 and 3; column t for 0 and 1, t + 4 for 2 and 3.
//                   b has 2 numbers: row t and t + 4; column g.
//   c and d of both: row g for 0 and 1, g + 8 for 2 and 3; column 2t + (i & 1).

namespace weft::ptx_on_cpu {

namespace {

constexpr int kWarp = 32;

// f(first lane) for each warp.
template <class F>
void for_each_warp(Frame& frame, const Instruction& in, const Lanes& lanes, F f) {
  for (int k = 0; k < lanes.count; k += kWarp) {
    const int first = lanes.at[k];
    if (first % kWarp != 0 || k + kWarp > lanes.count || lanes.at[k + kWarp - 1] != first + kWarp - 1) {
      frame.fail(in,
                 "not all 32 lanes of the warp of thread " + std::to_string(first) + " execute a warp's instruction");
    }
    f(first);
  }
}

enum class Shuffle { by_xor, down, up, index };

// d, the predicate or kNowhere, a, b, c, the mask of the members.
template <Shuffle kKind>
void shuffle(Frame& frame, const Instruction& in, const Lanes& lanes) {
  using U = std::uint32_t;
  U* const d = frame.reg<U>(in.registers[0]);
  std::uint8_t* const p = in.registers[1] == kNowhere ? nullptr : frame.reg<std::uint8_t>(in.registers[1]);
  const U *const a = frame.reg<U>(in.registers[2]), *const b = frame.reg<U>(in.registers[3]);
  const U *const c = frame.reg<U>(in.registers[4]), *const members = frame.reg<U>(in.registers[5]);
  for_each_warp(frame, in, lanes, [&](int first) {
    U values[kWarp];
    std::memcpy(values, a + first, sizeof values);
    for (int lane = 0; lane < kWarp; ++lane) {
      const int i = first + lane;
      if (members[i] != 0xFFFFFFFFu) frame.fail(in, "a shuffle of less than a warp is not supported");
      const int by = static_cast<int>(b[i] & 31), clamp = static_cast<int>(c[i] & 31);
      const int segment = static_cast<int>(c[i] >> 8 & 31), most = (lane & segment) | (clamp & ~segment);
      const int least = lane & segment;
      int source = lane;
      bool inside = false;
      if (kKind == Shuffle::by_xor) inside = (source = lane ^ by) <= most;
      if (kKind == Shuffle::down) inside = (source = lane + by) <= most;
      if (kKind == Shuffle::up) inside = (source = lane - by) >= most;
      if (kKind == Shuffle::index) inside = (source = least | (by & ~segment)) <= most;
      d[i] = values[inside ? source : lane];
      if (p != nullptr) p[i] = inside;
    }
  });
}

double bfloat_of(std::uint32_t word, int half) {
  return double{std::bit_cast<float>(half == 0 ? word << 16 : word & 0xFFFF0000u)};
}

// A product of matrices: a and b by depth, sums by column.
struct Product {
  double a[16][16], b[16][8], sums[8][16];
};

// The products and their sum in double precision: what the hardware adds to is not specified. Pairs of bf16 are added
// first, because their words follow each other; tf32 one by one.
template <bool kBfloat>
[[gnu::always_inline]] inline void add_products(Product& p) {
  for (int n = 0; n < 8; ++n) {
    double* const sums = p.sums[n];
    for (int k = 0; k < (kBfloat ? 16 : 8); k += kBfloat ? 2 : 1) {
      for (int row = 0; row < 16; ++row) {
        sums[row] += kBfloat ? p.a[k][row] * p.b[k][n] + p.a[k + 1][row] * p.b[k + 1][n] : p.a[k][row] * p.b[k][n];
      }
    }
  }
}
#if defined(__x86_64__)
const bool has_avx2 = __builtin_cpu_supports("avx2");
template <bool kBfloat>
[[gnu::target("avx2")]] void add_products_wide(Product& p) {
  add_products<kBfloat>(p);
}
#else
constexpr bool has_avx2 = false;
template <bool kBfloat>
void add_products_wide(Product&) {}
#endif

// Registers: d of 4, a of 4, b of 2, c of 4.
template <bool kBfloat>
void multiply(Frame& frame, const Instruction& in, const Lanes& lanes) {
  for_each_warp(frame, in, lanes, [&](int first) {
    Product p;
    const auto word_at = [&](int which, int lane) {
      return frame.reg<std::uint32_t>(in.registers[which])[first + lane];
    };
    const auto tf32_of = [](std::uint32_t word) { return double{std::bit_cast<float>(word & 0xFFFFE000u)}; };
    for (int lane = 0; lane < kWarp; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < (kBfloat ? 8 : 4); ++i) {
        const std::uint32_t word = word_at(4 + (kBfloat ? i / 2 : i), lane);
        const bool below = kBfloat ? !(i < 2 || (i >= 4 && i < 6)) : i % 2 == 1;
        const int column = kBfloat ? 2 * t + (i & 1) + (i >= 4 ? 8 : 0) : t + (i >= 2 ? 4 : 0);
        p.a[column][below ? g + 8 : g] = kBfloat ? bfloat_of(word, i & 1) : tf32_of(word);
      }
      for (int i = 0; i < (kBfloat ? 4 : 2); ++i) {
        const std::uint32_t word = word_at(8 + (kBfloat ? i / 2 : i), lane);
        const int row = kBfloat ? 2 * t + (i & 1) + (i >= 2 ? 8 : 0) : t + 4 * i;
        p.b[row][g] = kBfloat ? bfloat_of(word, i & 1) : tf32_of(word);
      }
      for (int i = 0; i < 4; ++i) {
        p.sums[2 * t + (i & 1)][i < 2 ? g : g + 8] = double{std::bit_cast<float>(word_at(10 + i, lane))};
      }
    }
    has_avx2 ? add_products_wide<kBfloat>(p) : add_products<kBfloat>(p);
    for (int lane = 0; lane < kWarp; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) {
        const double sum = p.sums[2 * t + (i & 1)][i < 2 ? g : g + 8];
        frame.reg<float>(in.registers[i])[first + lane] = canonical(static_cast<float>(sum));
      }
    }
  });
}

// Four matrices of 8 x 8 numbers of 16 bits: lane l has the address of row l % 8 of matrix l / 8, and gets of each
// matrix the numbers 2t and 2t + 1 of row g; kTransposed: the numbers (2t, g) and (2t + 1, g).
template <bool kTransposed>
void load_matrices(Frame& frame, const Instruction& in, const Lanes& lanes) {
  SharedMemory& shared = frame.block().shared();
  for_each_warp(frame, in, lanes, [&](int first) {
    std::uint16_t rows[kWarp][8];
    for (int lane = 0; lane < kWarp; ++lane) {
      const int i = first + lane;
      const std::uint64_t base = in.address_width == 0   ? 0
                                 : in.address_width == 4 ? std::uint64_t{frame.reg<std::uint32_t>(in.registers[15])[i]}
                                                         : frame.reg<std::uint64_t>(in.registers[15])[i];
      const std::uint64_t at = base + static_cast<std::uint64_t>(in.offset);
      try {
        shared.check_load(i, at, sizeof rows[lane]);
      } catch (const PtxError& error) {
        frame.fail(in, error.what());
      }
      std::memcpy(rows[lane], shared.at(at), sizeof rows[lane]);
    }
    for (int lane = 0; lane < kWarp; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int k = 0; k < 4; ++k) {
        const std::uint32_t low = kTransposed ? rows[8 * k + 2 * t][g] : rows[8 * k + g][2 * t];
        const std::uint32_t high = kTransposed ? rows[8 * k + 2 * t + 1][g] : rows[8 * k + g][2 * t + 1];
        frame.reg<std::uint32_t>(in.registers[k])[first + lane] = low | high << 16;
      }
    }
  });
}

}  // namespace

void add_warp_forms(Forms& f) {
  const std::vector<int> operands{4, 1, 4, 4, 4, 4};
  f.add("shfl.sync.bfly.b32", {shuffle<Shuffle::by_xor>, 2, operands});
  f.add("shfl.sync.down.b32", {shuffle<Shuffle::down>, 2, operands});
  f.add("shfl.sync.up.b32", {shuffle<Shuffle::up>, 2, operands});
  f.add("shfl.sync.idx.b32", {shuffle<Shuffle::index>, 2, operands});
  const std::vector<int> fragments(14, 4);
  f.add("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", {multiply<true>, 4, fragments});
  f.add("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", {multiply<false>, 4, fragments});
}

Op matrix_load_op(bool transposed) { return transposed ? load_matrices<true> : load_matrices<false>; }

const Forms& forms() {
  static const Forms* const all = [] {
    auto* const table = new Forms;
    add_integer_forms(*table);
    add_float_forms(*table);
    add_rounded_forms(*table);
    add_approximate_forms(*table);
    add_convert_forms(*table);
    add_compare_forms(*table);
    add_warp_forms(*table);
    return table;
  }();
  return *all;
}

}  // namespace weft::ptx_on_cpu
