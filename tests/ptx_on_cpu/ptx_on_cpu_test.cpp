// The machine that executes PTX: its instructions against values of the PTX ISA, and every fault that it must report,
// planted in a kernel's text.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "compare.h"
#include "frame.h"

namespace weft::ptx_on_cpu {
namespace {

// An entry of the name k with these parameters and this body.
std::string entry(const std::string& parameters, const std::string& body) {
  return ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(\n" + parameters + "\n)\n{\n" + body +
         "\n}\n";
}

template <class T>
Range range_of(std::vector<T>& values) {
  const auto begin = reinterpret_cast<std::uintptr_t>(values.data());
  return {begin, begin + values.size() * sizeof(T)};
}

struct Run {
  std::int64_t blocks = 1;
  int threads = 32;
  bool adversarial = false;
  std::uint64_t seed = 1;
};

// Runs k with addresses as its parameters.
void run_text(const std::string& text, const std::vector<Range>& ranges, const Run& how = {}) {
  Module module("test", text);
  const Function* const f = module.find("k");
  ASSERT_NE(f, nullptr);
  std::vector<std::uintptr_t> arguments;
  for (const Range& range : ranges) arguments.push_back(range.begin);
  DeviceMemory memory(ranges, how.adversarial);
  Launch launch{f, how.blocks, how.threads, reinterpret_cast<const unsigned char*>(arguments.data()), &memory};
  run(launch, {how.seed, 6});
}

// The message of the error, or "".
std::string error_of(const std::string& text, const std::vector<Range>& ranges, const Run& how = {}) {
  try {
    run_text(text, ranges, how);
  } catch (const PtxError& error) {
    return error.what();
  }
  return "";
}
#define EXPECT_REPORTS(TEXT, RANGES, WHAT)                                   \
  do {                                                                       \
    const std::string message = error_of(TEXT, RANGES);                      \
    EXPECT_NE(message.find(WHAT), std::string::npos) << "says: " << message; \
  } while (false)

std::string without(std::string text, const std::string& what, int which = 0) {
  std::size_t at = text.find(what);
  for (; which > 0; --which) at = text.find(what, at + 1);
  return text.erase(at, what.size());
}

// ---- every thread's x (32 words) through `body`, which makes %r2 of %r1.
std::vector<std::uint32_t> through(const std::string& body, const std::vector<std::uint32_t>& x) {
  std::vector<std::uint32_t> in = x, out(32);
  in.resize(32);
  run_text(
      entry(
          ".param .u64 a, .param .u64 b",
          ".reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<19>; .reg .f32 %f<9>; .reg .b64 %rd<9>; .reg .f64 %fd<9>;\n"
          "ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; mov.u32 %r9, %tid.x; mul.wide.u32 %rd3, %r9, 4;\n"
          "add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; ld.global.u32 %r1, [%rd4]; mov.b32 %f1, %r1;\n" +
              body + "\nst.global.u32 [%rd5], %r2; ret;"),
      {range_of(in), range_of(out)});
  out.resize(x.size());
  return out;
}
using Words = std::vector<std::uint32_t>;
std::uint32_t bits(float x) {
  std::uint32_t word = 0;
  std::memcpy(&word, &x, sizeof word);
  return word;
}

template <class T>
Difference difference_of(const std::vector<T>& a, const std::vector<T>& b) {
  return compare(reinterpret_cast<const unsigned char*>(a.data()), reinterpret_cast<const unsigned char*>(b.data()),
                 a.size() * sizeof(T));
}

TEST(PtxCompare, DistancesAreOfTheAllocationsDtype) {
  const float nan = std::bit_cast<float>(0x7FFFFFFFu), other_nan = std::bit_cast<float>(0xFFC00001u);
  EXPECT_EQ(difference_of<float>({1, nan, 2}, {1, other_nan, 2}).differing, 0u);
  EXPECT_EQ(difference_of<float>({1, nan, 2}, {1, 3, 2}).ulps, ~std::uint64_t{0});
  // The last word has four bytes.
  EXPECT_EQ(difference_of<float>({0, 4, 1}, {0, 4, std::nextafter(1.0f, 2.0f)}).ulps, 1u);
  const float far = std::bit_cast<float>(std::bit_cast<std::uint32_t>(1.0f) + 0x10800u);
  EXPECT_EQ(difference_of<float>({0, 4, 1}, {0, 4, far}).ulps, 0x800u);  // 1 and 0x800 of its halves as bf16
  EXPECT_EQ(difference_of<double>({0.1, -0.0}, {std::nextafter(0.1, 1.0), 0.0}).ulps, 1u);
  EXPECT_DOUBLE_EQ(difference_of<float>({3, 4.5F}, {3, 4}).norm, 0.1);
}

TEST(PtxCompare, ADifferenceIsHeldToTheBoundOfItsKind) {
  const std::string text = entry(".param .u64 a", "ret;");
  Module plain("unary", text), losses("loss", text);
  const Function &function = *plain.find("k"), &loss = *losses.find("k");
  const Difference few{.differing = 1, .ulps = 8, .norm = 9e-7, .norm_ulps = 5};
  const Difference many{.differing = 1, .ulps = 9, .norm = 2e-6, .norm_ulps = 4};
  EXPECT_EQ(excess(function, {.only_nan = 1}, {}), "");
  EXPECT_NE(excess(function, few, {}), "");
  EXPECT_EQ(excess(function, few, {.approximate = true}), "");
  EXPECT_NE(excess(function, many, {.approximate = true}), "");
  EXPECT_NE(excess(loss, few, {.approximate = true}), "");
  EXPECT_EQ(excess(loss, many, {.approximate = true}), "");
  EXPECT_EQ(excess(function, few, {.tensor_core = true}), "");
  EXPECT_NE(excess(function, many, {.tensor_core = true}), "");
}

TEST(PtxInstructions, Integers) {
  EXPECT_EQ(through("shl.b32 %r2, %r1, 4;", {1, 0x80000001u}), (Words{16, 16}));
  EXPECT_EQ(through("shl.b32 %r2, 1, %r1;", {31, 32, 200}), (Words{0x80000000u, 0, 0}));
  EXPECT_EQ(through("shr.s32 %r2, %r1, 40;", {5, 0x80000000u}), (Words{0, ~0u}));
  EXPECT_EQ(through("mul.hi.u32 %r2, %r1, %r1;", {0xFFFFFFFFu, 3}), (Words{0xFFFFFFFEu, 0}));
  EXPECT_EQ(through("div.s32 %r2, %r1, -3;", {7, static_cast<std::uint32_t>(-7)}),
            (Words{static_cast<std::uint32_t>(-2), 2}));
  EXPECT_EQ(through("prmt.b32 %r2, %r1, 0x11223344, 0x5410;", {0xAABBCCDDu}), (Words{0x3344CCDDu}));
  EXPECT_EQ(through("prmt.b32 %r2, %r1, 0, 0x8880;", {0x80, 0x7F}), (Words{0xFFFFFF80u, 0x7F}));
  EXPECT_EQ(
      through("mov.b64 %rd6, {%r1, %r1}; mov.u64 %rd7, 0; bfi.b64 %rd8, %rd6, %rd7, 8, 12; cvt.u32.u64 %r2, %rd8;",
              {0xABCDEu}),
      (Words{0xCDE00u}));
  EXPECT_EQ(through("add.cc.u32 %r3, %r1, %r1; addc.u32 %r2, 0, 0;", {0x7FFFFFFFu, 0x80000000u}), (Words{0, 1}));
  EXPECT_EQ(through("sub.cc.u32 %r3, %r1, 5; subc.u32 %r2, 0, 0;", {5, 4}), (Words{0, ~0u}));
  EXPECT_EQ(through("cvt.u16.u32 %rs1, %r1; cvt.s32.s16 %r2, %rs1;", {0x18000}), (Words{0xFFFF8000u}));
}

TEST(PtxInstructions, Floats) {
  const std::uint32_t nan = 0x7FFFFFFFu, other_nan = 0xFFC00001u;
  EXPECT_EQ(through("add.f32 %f2, %f1, 0f3F800000; mov.b32 %r2, %f2;", {bits(2), other_nan}), (Words{bits(3), nan}));
  EXPECT_EQ(through("max.f32 %f2, %f1, 0f00000000; mov.b32 %r2, %f2;", {bits(-0.0f), bits(-1), other_nan, bits(2)}),
            (Words{0, 0, 0, bits(2)}));
  EXPECT_EQ(through("add.rz.f32 %f2, %f1, 0f33800000; mov.b32 %r2, %f2;", {bits(1.0000001f)}),
            (Words{bits(1.0000001f)}));
  EXPECT_EQ(through("add.rp.f32 %f2, %f1, 0f30800000; mov.b32 %r2, %f2;", {bits(1)}), (Words{bits(1) + 1}));
  EXPECT_EQ(through("cvt.rn.bf16x2.f32 %r2, %f1, 0f3F800000;", {bits(1.00390625f), 0x3F808001u, other_nan}),
            (Words{0x3F803F80u, 0x3F813F80u, 0x7FFF3F80u}));
  EXPECT_EQ(through("cvt.rna.tf32.f32 %r2, %f1;", {0x3F801000u, 0x3F800FFFu}), (Words{0x3F802000u, 0x3F800000u}));
  EXPECT_EQ(through("cvt.rzi.s32.f32 %r2, %f1;", {bits(-2.9f), bits(3e9f), other_nan}),
            (Words{static_cast<std::uint32_t>(-2), 0x7FFFFFFFu, 0}));
  EXPECT_EQ(through("cvt.sat.f32.f32 %f2, %f1; mov.b32 %r2, %f2;", {bits(-1), bits(0.5f), bits(7), other_nan}),
            (Words{0, bits(0.5f), bits(1), 0}));
  EXPECT_EQ(through("setp.ltu.f32 %p1, %f1, 0f3F800000; selp.u32 %r2, 1, 0, %p1;", {bits(0), bits(2), other_nan}),
            (Words{1, 0, 1}));
  EXPECT_EQ(through("copysign.f32 %f2, %f1, 0f40000000; mov.b32 %r2, %f2;", {bits(-5)}), (Words{bits(-2)}));
}

TEST(PtxInstructions, ThreadsThatBranchApartMeetAgain) {
  Words x(32), expected(32);
  std::iota(x.begin(), x.end(), 0u);
  for (std::uint32_t i = 0; i < 32; ++i) expected[i] = i % 2 == 1 ? i * i : 2 * i;
  // All 32 lanes take part in the shuffle after the join, though odd and even ones came by different ways.
  EXPECT_EQ(through("and.b32 %r3, %r1, 1; setp.eq.s32 %p1, %r3, 1; @%p1 bra ODD; shl.b32 %r2, %r1, 1; bra.uni JOIN;\n"
                    "ODD: mul.lo.s32 %r2, %r1, %r1;\n"
                    "JOIN: shfl.sync.bfly.b32 %r2|%p2, %r2, 0, 31, -1;",
                    x),
            expected);
  for (std::uint32_t i = 0; i < 32; ++i) expected[i] = i * (i + 1) / 2;
  EXPECT_EQ(through("mov.u32 %r2, 0; mov.u32 %r3, %r1;\nLOOP: setp.eq.s32 %p1, %r3, 0; @%p1 bra DONE;\n"
                    "add.s32 %r2, %r2, %r3; add.s32 %r3, %r3, -1; bra.uni LOOP;\nDONE:",
                    x),
            expected);
}

TEST(PtxFaults, AnInstructionThatIsNotKnownIsNamed) {
  std::vector<float> x(32);
  EXPECT_REPORTS(entry(".param .u64 a", ".reg .b32 %r<3>; dp4a.u32.u32 %r1, %r1, %r1, %r1; ret;"), {range_of(x)},
                 "dp4a.u32.u32");
}

// y[i] = x[i + shift bytes]
std::string copy_text(int shift) {
  return entry(
      ".param .u64 a, .param .u64 b",
      ".reg .b32 %r<9>; .reg .b64 %rd<9>; ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; mov.u32 %r1, %tid.x;\n"
      "mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n"
      "ld.global.u32 %r2, [%rd4+" +
          std::to_string(shift) + "]; st.global.u32 [%rd5], %r2; ret;");
}

TEST(PtxFaults, AccessesOfTheDevicesMemory) {
  std::vector<std::uint32_t> x(32), y(32);
  const std::vector<Range> ranges{range_of(x), range_of(y)};
  EXPECT_EQ(error_of(copy_text(0), ranges), "");
  EXPECT_REPORTS(copy_text(2), ranges, "misaligned");
  EXPECT_REPORTS(copy_text(4), ranges, "out of bounds: thread 31 reads");
  EXPECT_REPORTS(copy_text(-4), ranges, "out of bounds: thread 0 reads");
  std::vector<Range> constant = ranges;
  constant[1].constant = true;
  EXPECT_REPORTS(copy_text(0), constant, "out of bounds: thread 0 writes");
}

// Two warps: y[i] = x[63 - i] through shared memory.
const std::string kReverse =
    entry(".param .u64 a, .param .u64 b",
          ".reg .b32 %r<9>; .reg .b64 %rd<9>;\n.shared .align 4 .b8 s[256];\n"
          "ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4;\n"
          "add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; ld.global.u32 %r2, [%rd4]; mov.u32 %r3, s;\n"
          "shl.b32 %r4, %r1, 2; add.s32 %r5, %r3, %r4; st.shared.u32 [%r5], %r2;\nbar.sync 0;\n"
          "sub.s32 %r6, %r3, %r4; ld.shared.u32 %r7, [%r6+252]; st.global.u32 [%rd5], %r7; ret;");

TEST(PtxFaults, SharedMemory) {
  std::vector<std::uint32_t> x(64), y(64), expected(64);
  std::iota(x.begin(), x.end(), 0u);
  std::copy(x.rbegin(), x.rend(), expected.begin());
  const std::vector<Range> ranges{range_of(x), range_of(y)};
  const auto says = [&](const std::string& text) { return error_of(text, ranges, {.threads = 64}); };
  EXPECT_EQ(says(kReverse), "");
  EXPECT_EQ(y, expected);
  EXPECT_NE(says(without(kReverse, "bar.sync 0;")).find("another thread wrote since the last barrier"),
            std::string::npos);
  EXPECT_NE(says(without(kReverse, "st.shared.u32 [%r5], %r2;")).find("nobody wrote"), std::string::npos);
  std::string far = kReverse;
  far.replace(far.find("+252"), 4, "+256");
  EXPECT_NE(says(far).find("outside of"), std::string::npos);
  far.replace(far.find("+256"), 4, "+250");
  EXPECT_NE(says(far).find("not aligned"), std::string::npos);
  std::string some = kReverse;
  some.replace(some.find("bar.sync 0;"), 11, "setp.lt.u32 %p1, %r1, 40; @%p1 bra ON; ret; ON: bar.sync 0;");
  some.insert(some.find(".reg"), ".reg .pred %p<2>; ");
  EXPECT_NE(says(some).find("24 threads ended while 40 wait"), std::string::npos);
}

TEST(PtxFaults, AShuffleWithLanesMissing) {
  std::vector<std::uint32_t> x(32), y(32);
  std::string text = copy_text(0);
  text.replace(text.find("st.global"), 0,
               "setp.lt.u32 %p1, %r1, 31; @%p1 shfl.sync.bfly.b32 %r2|%p2, %r2, 1, 31, -1; ");
  text.insert(text.find(".reg"), ".reg .pred %p<3>; ");
  EXPECT_REPORTS(text, (std::vector<Range>{range_of(x), range_of(y)}), "not all 32 lanes");
}

// Each block writes its number squared; the last one to count adds them up: cuda/runtime/launch.h's last_block, as nvcc
// has it.
const std::string kLastBlock =
    entry(".param .u64 partial, .param .u64 counter, .param .u64 sum",
          ".reg .pred %p<5>; .reg .b32 %r<19>; .reg .b64 %rd<9>;\n.shared .align 4 .u32 count;\n"
          "ld.param.u64 %rd1, [partial]; ld.param.u64 %rd2, [counter]; ld.param.u64 %rd3, [sum]; mov.u32 %r1, %tid.x;\n"
          "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %nctaid.x; add.s32 %r4, %r3, -1; mul.lo.s32 %r5, %r2, %r2;\n"
          "setp.ne.s32 %p1, %r1, 0; @%p1 bra WRITTEN; mul.wide.u32 %rd4, %r2, 4; add.s64 %rd5, %rd1, %rd4;\n"
          "st.global.u32 [%rd5], %r5;\nWRITTEN: membar.gl;\nbar.sync 0;\n@%p1 bra COUNTED;\n"
          "atom.global.inc.u32 %r6, [%rd2], %r4; st.shared.u32 [count], %r6;\nCOUNTED: bar.sync 0;\nmembar.gl;\n"
          "ld.shared.u32 %r7, [count]; setp.ne.s32 %p2, %r7, %r4; @%p2 bra DONE; @%p1 bra DONE;\n"
          "mov.u32 %r8, 0; mov.u32 %r9, 0;\nADD: mul.wide.u32 %rd6, %r8, 4; add.s64 %rd7, %rd1, %rd6;\n"
          "ld.global.u32 %r10, [%rd7]; add.s32 %r9, %r9, %r10; add.s32 %r8, %r8, 1; setp.lt.u32 %p3, %r8, %r3;\n"
          "@%p3 bra ADD; st.global.u32 [%rd3], %r9;\nDONE: ret;");

// In how many of 40 schedules the sum is right.
int right_sums(const std::string& text) {
  int right = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    std::vector<std::uint32_t> partial(16, 0x10000), counter(2), sum(2);
    run_text(text, {range_of(partial), range_of(counter), range_of(sum)},
             {.blocks = 16, .threads = 64, .adversarial = true, .seed = seed});
    EXPECT_EQ(counter[0], 0u);
    right += sum[0] == 1240;
  }
  return right;
}

TEST(PtxFaults, EachFenceOfLastBlockIsMissed) {
  EXPECT_EQ(right_sums(kLastBlock), 40);
  EXPECT_LT(right_sums(without(kLastBlock, "membar.gl;", 0)), 40);
  EXPECT_LT(right_sums(without(kLastBlock, "membar.gl;", 1)), 40);
}

TEST(PtxFaults, ABarrierOfLastBlockIsMissed) {
  std::vector<std::uint32_t> partial(16), counter(2), sum(2);
  const std::vector<Range> ranges{range_of(partial), range_of(counter), range_of(sum)};
  const auto says = [&](const std::string& text) { return error_of(text, ranges, {.blocks = 16, .threads = 64}); };
  EXPECT_EQ(says(kLastBlock), "");
  EXPECT_NE(says(without(kLastBlock, "bar.sync 0;", 1)), "");
}

}  // namespace
}  // namespace weft::ptx_on_cpu
