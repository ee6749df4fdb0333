#include <cfenv>

#include "ops.h"

// Arithmetic with directed rounding, and the approximations. This file is compiled with -frounding-math.

namespace weft::ptx_on_cpu {

namespace {

class Rounding {
 public:
  explicit Rounding(int mode) : before_(std::fegetround()) { std::fesetround(mode); }
  ~Rounding() { std::fesetround(before_); }
  Rounding(const Rounding&) = delete;
  Rounding& operator=(const Rounding&) = delete;

 private:
  int before_;
};

enum class Kind { add, sub, mul, div, fma, sqrt, rcp };
template <class T, Kind kKind, int kMode>
void rounded(Frame& frame, const Instruction& in, const Lanes& lanes) {
  constexpr bool kTwo = kKind != Kind::sqrt && kKind != Kind::rcp;
  T* const d = frame.reg<T>(in.registers[0]);
  const T* const a = frame.reg<T>(in.registers[1]);
  const T* const b = kTwo ? frame.reg<T>(in.registers[2]) : a;
  const T* const c = kKind == Kind::fma ? frame.reg<T>(in.registers[3]) : a;
  const Rounding mode(kMode);
  for (int k = 0; k < lanes.count; ++k) {
    const int i = lanes.at[k];
    // Volatile, because compilers move arithmetic across the change of the mode.
    volatile T x = a[i], y = b[i], z = c[i], result = 0;
    if (kKind == Kind::add) result = x + y;
    if (kKind == Kind::sub) result = x - y;
    if (kKind == Kind::mul) result = x * y;
    if (kKind == Kind::div) result = x / y;
    if (kKind == Kind::fma) result = std::fma(T(x), T(y), T(z));
    if (kKind == Kind::sqrt) result = std::sqrt(T(x));
    if (kKind == Kind::rcp) result = T(1) / x;
    d[i] = canonical(T(result));
  }
}

template <class T, int kMode>
void add_mode(Forms& f, const std::string& suffix) {
  const auto widths = [](std::size_t count) { return std::vector<int>(count, int{sizeof(T)}); };
  f.add("add" + suffix, {rounded<T, Kind::add, kMode>, 1, widths(3)});
  f.add("sub" + suffix, {rounded<T, Kind::sub, kMode>, 1, widths(3)});
  f.add("mul" + suffix, {rounded<T, Kind::mul, kMode>, 1, widths(3)});
  f.add("div" + suffix, {rounded<T, Kind::div, kMode>, 1, widths(3)});
  f.add("fma" + suffix, {rounded<T, Kind::fma, kMode>, 1, widths(4)});
  f.add("sqrt" + suffix, {rounded<T, Kind::sqrt, kMode>, 1, widths(2)});
  f.add("rcp" + suffix, {rounded<T, Kind::rcp, kMode>, 1, widths(2)});
}

// ---- approximations: what they stand for, rounded once. A GPU may differ in the last bits.
float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
double high_word(double x) { return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & 0xFFFFFFFF00000000u); }

template <class F>
void add_approximation(Forms& f, const std::string& base, F) {
  f.add<float, float>(base + ".approx.f32", [](float a) { return canonical(static_cast<float>(F{}(double{a}))); });
  f.add<float, float>(base + ".approx.ftz.f32",
                      [](float a) { return canonical(flushed(static_cast<float>(F{}(double{flushed(a)})))); });
}

}  // namespace

void add_rounded_forms(Forms& f) {
  add_mode<float, FE_TOWARDZERO>(f, ".rz.f32");
  add_mode<float, FE_DOWNWARD>(f, ".rm.f32");
  add_mode<float, FE_UPWARD>(f, ".rp.f32");
  add_mode<double, FE_TOWARDZERO>(f, ".rz.f64");
  add_mode<double, FE_DOWNWARD>(f, ".rm.f64");
  add_mode<double, FE_UPWARD>(f, ".rp.f64");
}

void add_approximate_forms(Forms& f) {
  add_approximation(f, "ex2", [](double x) { return std::exp2(x); });
  add_approximation(f, "lg2", [](double x) { return std::log2(x); });
  add_approximation(f, "rcp", [](double x) { return 1 / x; });
  add_approximation(f, "rsqrt", [](double x) { return 1 / std::sqrt(x); });
  add_approximation(f, "sqrt", [](double x) { return std::sqrt(x); });
  add_approximation(f, "sin", [](double x) { return std::sin(x); });
  add_approximation(f, "cos", [](double x) { return std::cos(x); });
  add_approximation(f, "tanh", [](double x) { return std::tanh(x); });
  f.add<float, float, float>("div.approx.f32", [](float a, float b) { return canonical(a / b); });
  f.add<float, float, float>("div.full.f32", [](float a, float b) { return canonical(a / b); });
  f.add<float, float, float>("div.approx.ftz.f32",
                             [](float a, float b) { return canonical(flushed(flushed(a) / flushed(b))); });
  // For f64, only the high words are computed, from the operand's high word.
  f.add<double, double>("rcp.approx.ftz.f64", [](double a) { return high_word(1 / high_word(a)); });
  f.add<double, double>("rsqrt.approx.ftz.f64", [](double a) { return high_word(1 / std::sqrt(high_word(a))); });
  f.add<double, double>("rsqrt.approx.f64", [](double a) { return 1 / std::sqrt(a); });
}

}  // namespace weft::ptx_on_cpu
