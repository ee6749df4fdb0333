// weft::cpu::gemm<float>, its own kernel and oneDNN (where built in) by turns: medians of GFLOP/s by the clock, and of
// GFLOP per second of CPU time, which a busy neighbour disturbs less (two threads at full speed show half as much).
// Usage: gemm_bench [threads] [rounds]

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "cpu/matmul/gemm.h"
#include "cpu/runtime/threads.h"

namespace {

using std::int64_t;

struct Case {
  const char* name;
  bool trans_a, trans_b;
  int64_t m, n, k;
};

const Case kCases[] = {
    {"square", false, false, 2048, 2048, 2048},
    {"needle conv1", false, true, 8192, 16, 147},
    {"needle res1", false, true, 2048, 32, 288},
    {"page prep", false, true, 65536, 64, 27},
    {"page res1", false, true, 16384, 128, 1152},
    {"page layer3", false, true, 4096, 512, 2304},
    {"page res1 input gradient", false, false, 16384, 128, 1152},
    {"page res1 weight gradient", true, false, 128, 1152, 16384},
    {"needle res1 weight gradient", true, false, 32, 288, 8192},
    {"matrix times vector", false, false, 4096, 1, 4096},
    {"vector times matrix", false, false, 1, 4096, 4096},
};

struct Problem {
  explicit Problem(const Case& shape) : s(shape), a(s.m * s.k), b(s.k * s.n), c(s.m * s.n) {
    unsigned state = 1;
    for (auto* values : {&a, &b}) {
      for (float& x : *values) x = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
    }
  }

  /// GFLOP/s of one call, by the clock and by CPU time.
  void run(std::vector<double>& by_clock, std::vector<double>& by_cpu) {
    const std::clock_t cpu_begin = std::clock();
    const auto begin = std::chrono::steady_clock::now();
    weft::cpu::gemm<float>({.trans_a = s.trans_a,
                            .trans_b = s.trans_b,
                            .m = s.m,
                            .n = s.n,
                            .k = s.k,
                            .a = a.data(),
                            .lda = s.trans_a ? s.m : s.k,
                            .b = b.data(),
                            .ldb = s.trans_b ? s.k : s.n,
                            .c = c.data(),
                            .ldc = s.n});
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    const double cpu_time = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    const double work = 2e-9 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    by_clock.push_back(work / time.count());
    by_cpu.push_back(work / std::max(cpu_time, 1e-6));
  }

  Case s;
  std::vector<float> a, b, c;
};

double median(std::vector<double>& values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) weft::cpu::set_thread_count(std::atoi(argv[1]));
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 21;
  const bool onednn = weft::cpu::gemm_uses_onednn();
  std::printf("%d threads, %s, medians of %d\n", weft::cpu::thread_count(), name(weft::cpu::isa()), rounds);
  std::printf("%-46s %17s %19s\n", "", "GFLOP/s", "GFLOP/CPU second");
  std::printf("%-28s %6s %5s %5s %8s %8s %9s %9s\n", "", "m", "n", "k", "own", "oneDNN", "own", "oneDNN");
  for (const Case& shape : kCases) {
    Problem problem(shape);
    std::vector<double> own, own_cpu, other{0.0}, other_cpu{0.0};
    for (int round = -1; round < rounds; ++round) {
      if (round == 0) {  // the first one warmed up
        for (auto* values : {&own, &own_cpu}) values->clear();
        if (onednn) other.clear(), other_cpu.clear();
      }
      weft::cpu::use_own_gemm(true);
      problem.run(own, own_cpu);
      weft::cpu::use_own_gemm(false);
      if (onednn) problem.run(other, other_cpu);
    }
    std::printf("%-28s %6lld %5lld %5lld %8.1f %8.1f %9.1f %9.1f\n", shape.name, static_cast<long long>(shape.m),
                static_cast<long long>(shape.n), static_cast<long long>(shape.k), median(own), median(other),
                median(own_cpu), median(other_cpu));
  }
}
