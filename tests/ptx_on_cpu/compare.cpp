#include "compare.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace weft::ptx_on_cpu {

namespace {

// For a format with `bits` bits, `mantissa` of which are the fraction.
bool is_nan(std::uint64_t word, int bits, int mantissa) {
  const std::uint64_t magnitude = word & ((std::uint64_t{1} << (bits - 1)) - 1);
  const std::uint64_t infinity = ((std::uint64_t{1} << (bits - 1 - mantissa)) - 1) << mantissa;
  return magnitude > infinity;
}

// The largest distance of the numbers in two words; kApart where only one is NaN.
constexpr std::uint64_t kApart = ~std::uint64_t{0};
std::uint64_t distance(std::uint64_t a, std::uint64_t b, int bits, int mantissa) {
  std::uint64_t largest = 0;
  for (int at = 0; at < 64; at += bits) {
    const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    const std::uint64_t x = a >> at & mask, y = b >> at & mask;
    if (x == y) continue;
    if (is_nan(x, bits, mantissa) != is_nan(y, bits, mantissa)) return kApart;
    if (is_nan(x, bits, mantissa)) continue;
    // Magnitude and sign to an order in which neighbours are 1 apart.
    const std::uint64_t sign = std::uint64_t{1} << (bits - 1);
    const auto order = [sign](std::uint64_t v) {
      return (v & sign) != 0 ? -static_cast<__int128>(v & ~sign) : static_cast<__int128>(v);
    };
    const __int128 apart = order(x) > order(y) ? order(x) - order(y) : order(y) - order(x);
    largest =
        std::max(largest, apart > static_cast<__int128>(kApart - 1) ? kApart - 1 : static_cast<std::uint64_t>(apart));
  }
  return largest;
}

// Places of registers whose every definition is a move of a constant that is not 0, 1 or -1.
std::set<std::uint32_t> constants_of(const Function& f) {
  std::map<std::uint32_t, bool> known;  // places with such a definition only
  for (const Constant& constant : f.constants) {
    if (constant.kind != Constant::Kind::bits || constant.width < 4) continue;
    const std::uint64_t magnitude = constant.bits & (constant.width == 4 ? 0x7FFFFFFFu : 0x7FFFFFFFFFFFFFFFu);
    const std::uint64_t one = constant.width == 4 ? 0x3F800000u : 0x3FF0000000000000u;
    known[constant.place] = magnitude != 0 && magnitude != one;
  }
  const auto is_known = [&](std::uint32_t place) {
    const auto found = known.find(place);
    return found != known.end() && found->second;
  };
  std::map<std::uint32_t, bool> moved;
  for (const Instruction& in : f.code) {
    if (in.op == nullptr) continue;
    const std::string& form = form_name(in.form);
    if (form == "mov.f32" || form == "mov.f64") {
      const auto [entry, added] = moved.try_emplace(in.registers[0], true);
      entry->second = entry->second && is_known(in.registers[1]);
    } else if (!form.starts_with("st.") && !form.starts_with("membar")) {
      for (int i = 0; i < (form.starts_with("ld") || form.starts_with("mma") ? 4 : 1); ++i)
        moved[in.registers[i]] = false;
    }
  }
  std::set<std::uint32_t> result;
  for (const auto& [place, only] : known) {
    if (only) result.insert(place);
  }
  for (const auto& [place, only] : moved) {
    if (only) result.insert(place);
  }
  return result;
}

Traits traits_of(const Instruction& in, const std::set<std::uint32_t>& constants) {
  const std::string& form = form_name(in.form);
  Traits traits;
  traits.tensor_core = form.starts_with("mma.");
  traits.approximate =
      form.find(".approx") != std::string::npos || form.find(".full") != std::string::npos || in.callee != nullptr;
  if (form.starts_with("fma.")) {
    for (int i = 1; i <= 3; ++i) traits.approximate |= constants.contains(in.registers[i]);
  }
  return traits;
}

}  // namespace

Difference compare(const unsigned char* a, const unsigned char* b, std::size_t bytes) {
  Difference result;
  if (std::memcmp(a, b, bytes) == 0) return result;
  for (std::size_t at = 0; at < bytes; at += 8) {
    std::uint64_t x = 0, y = 0;
    std::memcpy(&x, a + at, sizeof x);
    std::memcpy(&y, b + at, sizeof y);
    if (x == y) continue;
    const std::uint64_t ulps = std::min({distance(x, y, 64, 52), distance(x, y, 32, 23), distance(x, y, 16, 7)});
    if (ulps == 0) {
      ++result.only_nan;
      continue;
    }
    if (result.differing++ == 0) result.first = at;
    result.ulps = std::max(result.ulps, ulps);
  }
  return result;
}

Traits traits_of(const Function& function, const std::vector<std::uint64_t>& before) {
  static std::map<const Function*, std::vector<Traits>> known;
  std::vector<Traits>& all = known[&function];
  if (all.empty()) {
    const std::set<std::uint32_t> constants = constants_of(function);
    for (const Instruction& in : function.code) all.push_back(traits_of(in, constants));
  }
  Traits result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (function.executed[i] != before[i]) result |= all[i];
  }
  return result;
}

}  // namespace weft::ptx_on_cpu
