#include <limits>
#include <type_traits>

#include "ops.h"

// cvt. Numbers of 8 bits lie in registers of 16 or 32.

namespace weft::ptx_on_cpu {

namespace {

template <class T>
std::string type_name() {
  return std::string(std::is_floating_point_v<T> ? "f"
                     : std::is_signed_v<T>       ? "s"
                                                 : "u") +
         std::to_string(8 * sizeof(T));
}

// The integer's value in the wider register, extended by its own sign.
template <class D, class S>
void add_integer(Forms& f) {
  const std::string name = "." + type_name<D>() + "." + type_name<S>();
  using DR =
      std::conditional_t<sizeof(D) == 1, std::conditional_t<std::is_signed_v<D>, std::int16_t, std::uint16_t>, D>;
  using SR = std::conditional_t<sizeof(S) == 1, std::uint16_t, S>;
  f.add<DR, SR>("cvt" + name, [](SR a) { return static_cast<D>(static_cast<S>(a)); });
}
template <class D>
void add_integers(Forms& f) {
  add_integer<D, std::int8_t>(f);
  add_integer<D, std::uint8_t>(f);
  add_integer<D, std::int16_t>(f);
  add_integer<D, std::uint16_t>(f);
  add_integer<D, std::int32_t>(f);
  add_integer<D, std::uint32_t>(f);
  add_integer<D, std::int64_t>(f);
  add_integer<D, std::uint64_t>(f);
}

// To nearest even, as the host converts.
template <class S>
void add_from_integer(Forms& f) {
  using SR = std::conditional_t<sizeof(S) == 1, std::uint16_t, S>;
  f.add<float, SR>("cvt.rn.f32." + type_name<S>(), [](SR a) { return static_cast<float>(static_cast<S>(a)); });
  f.add<double, SR>("cvt.rn.f64." + type_name<S>(), [](SR a) { return static_cast<double>(static_cast<S>(a)); });
}

// The nearest number of the integer type; of NaN 0.
template <class D, class S>
D saturated(S x) {
  if (x != x) return 0;
  constexpr D kLow = std::numeric_limits<D>::min(), kHigh = std::numeric_limits<D>::max();
  if (x <= static_cast<S>(kLow)) return kLow;
  if (x >= static_cast<S>(kHigh)) return kHigh;  // which rounds up to a power of two where S has fewer bits
  return static_cast<D>(x);
}

template <class D, class S>
void add_to_integer(Forms& f) {
  using DR =
      std::conditional_t<sizeof(D) == 1, std::conditional_t<std::is_signed_v<D>, std::int16_t, std::uint16_t>, D>;
  const std::string types = "." + type_name<D>() + "." + type_name<S>();
  f.add<DR, S>("cvt.rzi" + types, [](S a) { return saturated<D>(std::trunc(a)); });
  f.add<DR, S>("cvt.rni" + types, [](S a) { return saturated<D>(std::nearbyint(a)); });
  f.add<DR, S>("cvt.rmi" + types, [](S a) { return saturated<D>(std::floor(a)); });
  f.add<DR, S>("cvt.rpi" + types, [](S a) { return saturated<D>(std::ceil(a)); });
}
template <class S>
void add_to_integers(Forms& f) {
  add_to_integer<std::int8_t, S>(f);
  add_to_integer<std::uint8_t, S>(f);
  add_to_integer<std::int16_t, S>(f);
  add_to_integer<std::uint16_t, S>(f);
  add_to_integer<std::int32_t, S>(f);
  add_to_integer<std::uint32_t, S>(f);
  add_to_integer<std::int64_t, S>(f);
  add_to_integer<std::uint64_t, S>(f);
}

template <class T>
void add_same_float(Forms& f) {
  const std::string types = "." + type_name<T>() + "." + type_name<T>();
  f.add<T, T>("cvt.rzi" + types, [](T a) { return canonical(std::trunc(a)); });
  f.add<T, T>("cvt.rni" + types, [](T a) { return canonical(std::nearbyint(a)); });
  f.add<T, T>("cvt.rmi" + types, [](T a) { return canonical(std::floor(a)); });
  f.add<T, T>("cvt.rpi" + types, [](T a) { return canonical(std::ceil(a)); });
  f.add<T, T>("cvt.sat" + types, [](T a) { return a != a || a <= 0 ? T(0) : a > 1 ? T(1) : a; });
}

// To bf16, to nearest even; NaN is 0x7FFF.
std::uint32_t to_bfloat(float x) {
  if (x != x) return 0x7FFF;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
float relu(float x) { return x < 0 || std::bit_cast<std::uint32_t>(x) == 0x80000000u ? 0.0f : x; }

void add_small_floats(Forms& f) {
  using U = std::uint32_t;
  f.add<U, float, float>("cvt.rn.bf16x2.f32",
                         [](float high, float low) { return to_bfloat(high) << 16 | to_bfloat(low); });
  f.add<U, float, float>("cvt.rn.relu.bf16x2.f32",
                         [](float high, float low) { return to_bfloat(relu(high)) << 16 | to_bfloat(relu(low)); });
  f.add<std::uint16_t, float>("cvt.rn.bf16.f32", [](float x) { return static_cast<std::uint16_t>(to_bfloat(x)); });
  f.add<std::uint16_t, float>("cvt.rn.relu.bf16.f32",
                              [](float x) { return static_cast<std::uint16_t>(to_bfloat(relu(x))); });
  f.add<float, std::uint16_t>("cvt.f32.bf16", [](std::uint16_t x) { return std::bit_cast<float>(U{x} << 16); });
  // To nearest, ties away from zero.
  f.add<U, float>("cvt.rna.tf32.f32", [](float x) {
    const auto bits = std::bit_cast<U>(x);
    if (x != x) return 0x7FFFFFFFu;
    return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & ~0x1FFFu;
  });
}

}  // namespace

void add_convert_forms(Forms& f) {
  add_integers<std::int8_t>(f);
  add_integers<std::uint8_t>(f);
  add_integers<std::int16_t>(f);
  add_integers<std::uint16_t>(f);
  add_integers<std::int32_t>(f);
  add_integers<std::uint32_t>(f);
  add_integers<std::int64_t>(f);
  add_integers<std::uint64_t>(f);
  add_from_integer<std::int8_t>(f);
  add_from_integer<std::uint8_t>(f);
  add_from_integer<std::int16_t>(f);
  add_from_integer<std::uint16_t>(f);
  add_from_integer<std::int32_t>(f);
  add_from_integer<std::uint32_t>(f);
  add_from_integer<std::int64_t>(f);
  add_from_integer<std::uint64_t>(f);
  add_to_integers<float>(f);
  add_to_integers<double>(f);
  add_same_float<float>(f);
  add_same_float<double>(f);
  f.add<double, float>("cvt.f64.f32", [](float a) { return static_cast<double>(a); });
  f.add<float, double>("cvt.rn.f32.f64", [](double a) { return canonical(static_cast<float>(a)); });
  add_small_floats(f);
}

}  // namespace weft::ptx_on_cpu
