#include "compare.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>

namespace weft::ptx_on_cpu {

namespace {

constexpr std::uint64_t kApart = ~std::uint64_t{0};  // the distance of NaN and a number

// The numbers of an allocation as one dtype.
class Format {
 public:
  // `mantissa` of the `bits` are the fraction.
  Format(int bits, int mantissa)
      : bits_(bits),
        mantissa_(mantissa),
        sign_(std::uint64_t{1} << (bits - 1)),
        infinity_(((std::uint64_t{1} << (bits - 1 - mantissa)) - 1) << mantissa) {}

  int mantissa() const { return mantissa_; }

  // The largest distance of the numbers in two words that are not the same.
  std::uint64_t distance(std::uint64_t a, std::uint64_t b) const {
    std::uint64_t largest = 0;
    for (int at = 0; at < 64; at += bits_) {
      const std::uint64_t x = number(a, at), y = number(b, at);
      if (x == y || (is_nan(x) && is_nan(y))) continue;
      if (is_nan(x) || is_nan(y)) return kApart;
      const __int128 apart = order(x) > order(y) ? order(x) - order(y) : order(y) - order(x);
      largest = std::max(largest, static_cast<std::uint64_t>(std::min<__int128>(apart, kApart - 1)));
    }
    return largest;
  }

  // Adds the squares of the differences and of b.
  void add_squares(std::uint64_t a, std::uint64_t b, double& differences, double& all) const {
    for (int at = 0; at < 64; at += bits_) {
      const double x = value(number(a, at)), y = value(number(b, at));
      if (std::isfinite(x) && std::isfinite(y)) {
        differences += (x - y) * (x - y);
        all += y * y;
      } else if (x != y && !(std::isnan(x) && std::isnan(y))) {
        differences = std::numeric_limits<double>::infinity();
      }
    }
  }

 private:
  std::uint64_t number(std::uint64_t word, int at) const {
    return bits_ == 64 ? word : word >> at & ((std::uint64_t{1} << bits_) - 1);
  }
  bool is_nan(std::uint64_t x) const { return (x & ~sign_) > infinity_; }
  // Magnitude and sign to an order in which neighbours are 1 apart.
  __int128 order(std::uint64_t x) const {
    return (x & sign_) != 0 ? -static_cast<__int128>(x & ~sign_) : static_cast<__int128>(x);
  }
  double value(std::uint64_t x) const {
    if (bits_ == 64) return std::bit_cast<double>(x);
    return double{std::bit_cast<float>(static_cast<std::uint32_t>(bits_ == 32 ? x : x << 16))};
  }

  int bits_, mantissa_;
  std::uint64_t sign_, infinity_;
};

std::uint64_t word_at(const unsigned char* data, std::size_t at, std::size_t bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, data + at, std::min<std::size_t>(sizeof word, bytes - at));
  return word;
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
  if (std::memcmp(a, b, bytes) == 0) return {};
  static const std::array<Format, 3> formats{Format(64, 52), Format(32, 23), Format(16, 7)};
  std::array<Difference, 3> all;
  for (std::size_t at = 0; at < bytes; at += 8) {
    const std::uint64_t x = word_at(a, at, bytes), y = word_at(b, at, bytes);
    if (x == y) continue;
    for (std::size_t i = 0; i < formats.size(); ++i) {
      const std::uint64_t ulps = formats[i].distance(x, y);
      if (ulps == 0) {
        ++all[i].only_nan;
        continue;
      }
      if (all[i].differing++ == 0) all[i].first = at;
      all[i].ulps = std::max(all[i].ulps, ulps);
    }
  }
  const auto best = static_cast<std::size_t>(std::ranges::min_element(all, {}, &Difference::ulps) - all.begin());
  double differences = 0, squares = 0;
  for (std::size_t at = 0; at < bytes; at += 8) {
    formats[best].add_squares(word_at(a, at, bytes), word_at(b, at, bytes), differences, squares);
  }
  all[best].norm = differences == 0 ? 0 : std::sqrt(differences / squares);
  all[best].norm_ulps = all[best].norm * std::ldexp(1.0, formats[best].mantissa());
  return all[best];
}

void Difference::add(const Difference& other) {
  if (differing == 0) first = other.first;
  differing += other.differing;
  only_nan += other.only_nan;
  ulps = std::max(ulps, other.ulps);
  norm = std::max(norm, other.norm);
  norm_ulps = std::max(norm_ulps, other.norm_ulps);
}

std::string excess(const Function& function, const Difference& difference, const Traits& traits) {
  if (difference.differing == 0) return "";
  const bool loss = function.module->name() == "loss";
  if (traits.tensor_core && difference.norm <= kMostTensorNorm) return "";
  if (traits.approximate && !loss && difference.ulps <= kMostUlps) return "";
  if (traits.approximate && loss && difference.norm_ulps <= kMostNormUlps) return "";
  return std::to_string(difference.differing) + " words, by up to " + std::to_string(difference.ulps) +
         " ulps of a number and " + std::to_string(difference.norm_ulps) + " of the norm, first at byte " +
         std::to_string(difference.first) + " of an allocation, where " +
         (traits.approximate   ? loss ? std::to_string(kMostNormUlps) + " of the norm are"
                                      : std::to_string(kMostUlps) + " of a number are"
          : traits.tensor_core ? std::to_string(kMostTensorNorm) + " of the norm is"
                               : "equal bits are") +
         " expected";
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
