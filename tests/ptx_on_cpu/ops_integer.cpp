#include <limits>
#include <type_traits>

#include "ops.h"

// Integer arithmetic, logic and shifts (PTX ISA: integer arithmetic, extended precision, logic and shift instructions).

namespace weft::ptx_on_cpu {

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
constexpr int kBits = static_cast<int>(8 * sizeof(T));

template <class T>
std::string typed(const char* prefix) {
  return prefix + std::string(std::is_signed_v<T> ? "s" : "u") + std::to_string(kBits<T>);
}

// In unsigned arithmetic, of at least 32 bits, which wraps.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
void add_arithmetic(Forms& f) {
  const auto name = [](const char* prefix) { return typed<T>(prefix); };
  f.add<T, T, T>(name("add."), [](T a, T b) { return static_cast<T>(Wide<T>(a) + Wide<T>(b)); });
  f.add<T, T, T>(name("sub."), [](T a, T b) { return static_cast<T>(Wide<T>(a) - Wide<T>(b)); });
  f.add<T, T, T>(name("mul.lo."), [](T a, T b) { return static_cast<T>(Wide<T>(a) * Wide<T>(b)); });
  f.add<T, T, T, T>(name("mad.lo."),
                    [](T a, T b, T c) { return static_cast<T>(Wide<T>(a) * Wide<T>(b) + Wide<T>(c)); });
  f.add<T, T, T>(name("min."), [](T a, T b) { return a < b ? a : b; });
  f.add<T, T, T>(name("max."), [](T a, T b) { return a > b ? a : b; });
  // Division by zero has no defined result; a GPU gives all ones, and the dividend as the remainder.
  f.add<T, T, T>(name("div."), [](T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - Wide<T>(a));
    return static_cast<T>(a / b);
  });
  f.add<T, T, T>(name("rem."), [](T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return T{0};
    return static_cast<T>(a % b);
  });
  if constexpr (std::is_signed_v<T>) {
    f.add<T, T>(name("neg."), [](T a) { return static_cast<T>(0 - Wide<T>(a)); });
    f.add<T, T>(name("abs."), [](T a) { return static_cast<T>(a < 0 ? 0 - Wide<T>(a) : Wide<T>(a)); });
  }
  if constexpr (sizeof(T) <= 4) {
    using Double =
        std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>,
                           std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>>;
    f.add<Double, T, T>(name("mul.wide."), [](T a, T b) { return static_cast<Double>(static_cast<Double>(a) * b); });
    f.add<T, T, T>(name("mul.hi."), [](T a, T b) { return static_cast<T>((static_cast<Double>(a) * b) >> kBits<T>); });
    f.add<Double, T, T, Double>(name("mad.wide."), [](T a, T b, Double c) {
      return static_cast<Double>(Wide<Double>(static_cast<Double>(a) * b) + Wide<Double>(c));
    });
    f.add<T, T, T, T>(name("mad.hi."), [](T a, T b, T c) {
      return static_cast<T>(Wide<T>((static_cast<Double>(a) * b) >> kBits<T>) + Wide<T>(c));
    });
  } else {
    using Double = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    f.add<T, T, T>(name("mul.hi."), [](T a, T b) { return static_cast<T>((static_cast<Double>(a) * b) >> 64); });
  }
}

template <class T>
void add_logic(Forms& f) {
  const auto name = [](const char* prefix) { return prefix + ("b" + std::to_string(kBits<T>)); };
  f.add<T, T, T>(name("and."), [](T a, T b) { return static_cast<T>(a & b); });
  f.add<T, T, T>(name("or."), [](T a, T b) { return static_cast<T>(a | b); });
  f.add<T, T, T>(name("xor."), [](T a, T b) { return static_cast<T>(a ^ b); });
  f.add<T, T>(name("not."), [](T a) { return static_cast<T>(~a); });
  f.add<T, T>(name("mov."), [](T a) { return a; });
  using Signed = std::make_signed_t<T>;
  const auto left = [](T a, std::uint32_t by) { return by >= kBits<T> ? T{0} : static_cast<T>(Wide<T>(a) << by); };
  const auto right = [](T a, std::uint32_t by) { return by >= kBits<T> ? T{0} : static_cast<T>(a >> by); };
  f.add<T, T, std::uint32_t>(name("shl."), left);
  f.add<T, T, std::uint32_t>(name("shr."), right);
  f.add<T, T, std::uint32_t>(typed<T>("shr."), right);
  f.add<Signed, Signed, std::uint32_t>(typed<Signed>("shr."), [](Signed a, std::uint32_t by) {
    return static_cast<Signed>(a >> (by >= kBits<T> ? kBits<T> - 1 : static_cast<int>(by)));
  });
  const auto select = [](T a, T b, std::uint8_t which) { return which != 0 ? a : b; };
  for (const char* kind : {"b", "u", "s", "f"}) {
    if (*kind == 'f' && sizeof(T) == 2) continue;
    f.add<T, T, T, std::uint8_t>("selp." + (kind + std::to_string(kBits<T>)), select);
    f.add<T, T>("mov." + (kind + std::to_string(kBits<T>)), [](T a) { return a; });
  }
}

template <class T>
void add_bits(Forms& f) {
  const std::string type = "b" + std::to_string(kBits<T>);
  f.add<std::uint32_t, T>("clz." + type, [](T a) { return static_cast<std::uint32_t>(std::countl_zero(a)); });
  f.add<std::uint32_t, T>("popc." + type, [](T a) { return static_cast<std::uint32_t>(std::popcount(a)); });
  f.add<T, T, T, std::uint32_t, std::uint32_t>("bfi." + type, [](T a, T b, std::uint32_t at, std::uint32_t count) {
    at &= 255;
    count &= 255;
    if (at >= kBits<T> || count == 0) return b;
    const T ones = count >= kBits<T> ? ~T{0} : static_cast<T>((T{1} << count) - 1);
    const T mask = static_cast<T>(ones << at);
    return static_cast<T>((b & ~mask) | ((a << at) & mask));
  });
}

// ---- extended precision: every thread has a carry, which a subtraction sets where it borrows.
enum class Extended { add, sub, mad_lo, mad_hi };
template <Extended kKind, bool kIn, bool kOut>
void extended(Frame& frame, const Instruction& in, const Lanes& lanes) {
  using T = std::uint32_t;
  constexpr bool kThree = kKind == Extended::mad_lo || kKind == Extended::mad_hi;
  T* const d = frame.reg<T>(in.registers[0]);
  const T *const a = frame.reg<T>(in.registers[1]), *const b = frame.reg<T>(in.registers[2]);
  const T* const c = kThree ? frame.reg<T>(in.registers[3]) : a;
  T* const carry = frame.carry();
  for_each(lanes, [=](int i) {
    std::uint64_t result = 0;
    const std::uint64_t with = kIn ? carry[i] : 0, product = std::uint64_t{a[i]} * b[i];
    if (kKind == Extended::add) result = std::uint64_t{a[i]} + b[i] + with;
    if (kKind == Extended::sub) result = std::uint64_t{a[i]} - b[i] - with;
    if (kKind == Extended::mad_lo) result = (product & 0xFFFFFFFFu) + c[i] + with;
    if (kKind == Extended::mad_hi) result = (product >> 32) + c[i] + with;
    if (kOut) carry[i] = static_cast<T>(result >> 32 & 1);
    d[i] = static_cast<T>(result);
  });
}

template <Extended kKind>
void add_extended(Forms& f, const std::string& base, const std::string& part) {
  const std::vector<int> widths(kKind == Extended::add || kKind == Extended::sub ? 3 : 4, 4);
  for (const char* type : {".u32", ".s32"}) {
    f.add(base + part + ".cc" + type, {extended<kKind, false, true>, 1, widths});
    f.add(base + "c" + part + ".cc" + type, {extended<kKind, true, true>, 1, widths});
    f.add(base + "c" + part + type, {extended<kKind, true, false>, 1, widths});
  }
}

}  // namespace

void add_integer_forms(Forms& f) {
  add_arithmetic<std::int16_t>(f);
  add_arithmetic<std::uint16_t>(f);
  add_arithmetic<std::int32_t>(f);
  add_arithmetic<std::uint32_t>(f);
  add_arithmetic<std::int64_t>(f);
  add_arithmetic<std::uint64_t>(f);
  add_logic<std::uint16_t>(f);
  add_logic<std::uint32_t>(f);
  add_logic<std::uint64_t>(f);
  add_bits<std::uint32_t>(f);
  add_bits<std::uint64_t>(f);
  add_extended<Extended::add>(f, "add", "");
  add_extended<Extended::sub>(f, "sub", "");
  add_extended<Extended::mad_lo>(f, "mad", ".lo");
  add_extended<Extended::mad_hi>(f, "mad", ".hi");
  using P = std::uint8_t;
  f.add<P, P, P>("and.pred", [](P a, P b) { return static_cast<P>(a & b); });
  f.add<P, P, P>("or.pred", [](P a, P b) { return static_cast<P>(a | b); });
  f.add<P, P, P>("xor.pred", [](P a, P b) { return static_cast<P>(a ^ b); });
  f.add<P, P>("not.pred", [](P a) { return static_cast<P>(a ^ 1); });
  f.add<P, P>("mov.pred", [](P a) { return a; });
  // Bytes of (a, b) chosen by the nibbles of `select`; a nibble's top bit takes the byte's sign instead.
  using U = std::uint32_t;
  f.add<U, U, U, U>("prmt.b32", [](U a, U b, U select) {
    const std::uint64_t bytes = a | std::uint64_t{b} << 32;
    U result = 0;
    for (int k = 0; k < 4; ++k) {
      const U nibble = select >> (4 * k) & 15, byte = static_cast<U>(bytes >> (8 * (nibble & 7))) & 255;
      result |= ((nibble & 8) == 0 ? byte : (byte & 128) != 0 ? 255u : 0u) << (8 * k);
    }
    return result;
  });
  // cvta changes nothing, because every state space has addresses of its own here.
  using L = std::uint64_t;
  for (const char* space : {"global", "shared", "local", "const"}) {
    f.add<L, L>(std::string("cvta.to.") + space + ".u64", [](L a) { return a; });
    f.add<L, L>(std::string("cvta.") + space + ".u64", [](L a) { return a; });
  }
  // The number of the source's funnel shift: the high word of (hi, lo) << by, or the low word of it >> by.
  f.add<U, U, U, U>("shf.l.wrap.b32",
                    [](U lo, U hi, U by) { return static_cast<U>((std::uint64_t{hi} << 32 | lo) << (by & 31) >> 32); });
  f.add<U, U, U, U>("shf.r.wrap.b32",
                    [](U lo, U hi, U by) { return static_cast<U>((std::uint64_t{hi} << 32 | lo) >> (by & 31)); });
}

}  // namespace weft::ptx_on_cpu
