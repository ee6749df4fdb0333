#include "ops.h"

// setp: a comparison into a predicate.

namespace weft::ptx_on_cpu {

namespace {

using P = std::uint8_t;

template <class T>
void add_equal(Forms& f, const std::string& type) {
  f.add<P, T, T>("setp.eq." + type, [](T a, T b) { return a == b; });
  f.add<P, T, T>("setp.ne." + type, [](T a, T b) { return a != b; });
}

template <class T>
void add_order(Forms& f, const std::string& type) {
  add_equal<T>(f, type);
  f.add<P, T, T>("setp.lt." + type, [](T a, T b) { return a < b; });
  f.add<P, T, T>("setp.le." + type, [](T a, T b) { return a <= b; });
  f.add<P, T, T>("setp.gt." + type, [](T a, T b) { return a > b; });
  f.add<P, T, T>("setp.ge." + type, [](T a, T b) { return a >= b; });
}

// Ordered comparisons are false with a NaN, those with a u are true.
template <class T>
void add_float(Forms& f, const std::string& type) {
  add_order<T>(f, type);
  f.add<P, T, T>("setp.ne." + type, [](T a, T b) { return a < b || a > b; });
  f.add<P, T, T>("setp.equ." + type, [](T a, T b) { return !(a < b || a > b); });
  f.add<P, T, T>("setp.neu." + type, [](T a, T b) { return a != b; });
  f.add<P, T, T>("setp.ltu." + type, [](T a, T b) { return !(a >= b); });
  f.add<P, T, T>("setp.leu." + type, [](T a, T b) { return !(a > b); });
  f.add<P, T, T>("setp.gtu." + type, [](T a, T b) { return !(a <= b); });
  f.add<P, T, T>("setp.geu." + type, [](T a, T b) { return !(a < b); });
  f.add<P, T, T>("setp.num." + type, [](T a, T b) { return a == a && b == b; });
  f.add<P, T, T>("setp.nan." + type, [](T a, T b) { return a != a || b != b; });
}

}  // namespace

void add_compare_forms(Forms& f) {
  add_order<std::int16_t>(f, "s16");
  add_order<std::int32_t>(f, "s32");
  add_order<std::int64_t>(f, "s64");
  add_order<std::uint16_t>(f, "u16");
  add_order<std::uint32_t>(f, "u32");
  add_order<std::uint64_t>(f, "u64");
  add_equal<std::uint16_t>(f, "b16");
  add_equal<std::uint32_t>(f, "b32");
  add_equal<std::uint64_t>(f, "b64");
  add_float<float>(f, "f32");
  add_float<double>(f, "f64");
}

}  // namespace weft::ptx_on_cpu
