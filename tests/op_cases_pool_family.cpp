#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tests/op_cases.h"
#include "tests/spatial.h"

namespace weft::cases {

namespace {

/// A pooling of `axes` spatial axes in loops over three: those that are absent come first and have size 1.
struct Family {
  std::string what;
  int axes = 2;
  std::int64_t n = 1, c = 1;
  Triple in{1, 1, 1}, kernel{1, 1, 1};
  Triple stride{1, 1, 1}, padding{}, dilation{1, 1, 1};
  bool ceil_mode = false;
  Triple adaptive{};  ///< the output's sizes; 0: the windows above
  bool batch = true;  ///< false: n is 1 and no axis

  Sizes join(const Triple& spatial) const {
    Sizes sizes = batch ? Sizes{n, c} : Sizes{c};
    sizes.insert(sizes.end(), spatial.end() - axes, spatial.end());
    return sizes;
  }
  /// The places of window o of an axis, those in the padding and behind it too.
  std::vector<std::int64_t> window(std::size_t d, std::int64_t o) const {
    std::vector<std::int64_t> places;
    if (adaptive[d] > 0) {
      for (std::int64_t i = 0; i < in[d]; ++i) {
        const double share = static_cast<double>(in[d]) / static_cast<double>(adaptive[d]);
        const auto at = static_cast<double>(i), first = static_cast<double>(o);
        if (at >= std::floor(first * share) && at < std::ceil((first + 1) * share)) places.push_back(i);
      }
      return places;
    }
    for (std::int64_t j = 0; j < kernel[d]; ++j) places.push_back(o * stride[d] - padding[d] + j * dilation[d]);
    return places;
  }
  /// Windows that the padded input holds; with ceil_mode one more that starts before the padding behind, if those leave
  /// a rest.
  std::int64_t outputs(std::size_t d) const {
    if (adaptive[d] > 0) return adaptive[d];
    std::int64_t count = 0;
    while (window(d, count).back() < in[d] + padding[d]) ++count;
    const bool rest = count == 0 || window(d, count - 1).back() + 1 < in[d] + padding[d];
    return count + (ceil_mode && rest && window(d, count).front() < in[d] ? 1 : 0);
  }
  Triple out() const { return {outputs(0), outputs(1), outputs(2)}; }
};

/// visit(places) for every place of a window.
template <class F>
void for_window(const Family& f, const Triple& o, const F& visit) {
  for (const std::int64_t i : f.window(0, o[0]))
    for (const std::int64_t j : f.window(1, o[1]))
      for (const std::int64_t k : f.window(2, o[2])) visit(Triple{i, j, k});
}

/// Whether a place lies in the input with so many places of padding, all of them where `padded`.
bool is_inside(const Family& f, const Triple& at, bool padded) {
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t margin = padded ? f.padding[d] : 0;
    if (at[d] < -margin || at[d] >= f.in[d] + margin) return false;
  }
  return true;
}

/// result(image, window) for every element of the output.
template <class F>
Plain pooled(const Family& f, const F& result) {
  Plain y{f.join(f.out()), {}};
  for (std::int64_t image = 0; image < f.n * f.c; ++image)
    for_each(f.out(), [&](const Triple& o) { y.values.push_back(result(static_cast<std::size_t>(image), o)); });
  return y;
}

/// The flat position of a window's largest element, the first of equals or the first NaN; -1 without an element.
std::int64_t largest(const Family& f, const Plain& x, std::size_t image, const Triple& o) {
  std::int64_t best = -1;
  double value = 0;
  for_window(f, o, [&](const Triple& at) {
    if (!is_inside(f, at, false)) return;
    const double here = x.values[image * volume_of(f.in) + flat(f.in, at)];
    if (best >= 0 && !(here > value) && !(std::isnan(here) && !std::isnan(value))) return;
    best = static_cast<std::int64_t>(flat(f.in, at));
    value = here;
  });
  return best;
}

Plain maxima(const Family& f, const Plain& x) {
  return pooled(f, [&](std::size_t image, const Triple& o) {
    const std::int64_t best = largest(f, x, image, o);
    return best < 0 ? -std::numeric_limits<double>::infinity()
                    : x.values[image * volume_of(f.in) + static_cast<std::size_t>(best)];
  });
}

/// Whether the result has -infinity, which finite differences cannot take.
bool has_empty_windows(const Family& f) {
  const Plain x{f.join(f.in), std::vector<double>(volume_of(f.in))};
  bool found = false;
  for_each(f.out(), [&](const Triple& o) { found = found || largest(f, x, 0, o) < 0; });
  return found;
}

Plain positions(const Family& f, const Plain& x) {
  return pooled(f, [&](std::size_t image, const Triple& o) { return static_cast<double>(largest(f, x, image, o)); });
}

Plain means(const Family& f, const Plain& x, bool count_padding, std::optional<std::int64_t> divisor) {
  return pooled(f, [&](std::size_t image, const Triple& o) {
    double sum = 0, count = 0;
    for_window(f, o, [&](const Triple& at) {
      if (is_inside(f, at, false)) sum += x.values[image * volume_of(f.in) + flat(f.in, at)];
      count += is_inside(f, at, count_padding) ? 1 : 0;
    });
    return sum / (divisor ? static_cast<double>(*divisor) : std::fmax(count, 1));
  });
}

template <int N>
MaxPoolOptions<N> max_options(const Family& f) {
  return {last<N>(f.stride), last<N>(f.padding), last<N>(f.dilation), f.ceil_mode};
}
template <int N>
AvgPoolOptions<N> avg_options(const Family& f, bool count_padding, std::optional<std::int64_t> divisor) {
  return {last<N>(f.stride), last<N>(f.padding), f.ceil_mode, count_padding, divisor, last<N>(f.dilation)};
}
template <int N>
LPPoolOptions<N> lp_options(const Family& f) {
  return {last<N>(f.stride), f.ceil_mode, last<N>(f.dilation)};
}

template <int N>
MaxUnpoolOptions<N> unpool_options(const Family& f) {
  return {last<N>(f.stride), last<N>(f.padding)};
}

OpCase pool_case(const Family& f, const std::string& op, const std::string& what, Values values) {
  OpCase row{.op = op + std::to_string(f.axes) + "d", .what = f.what + what};
  row.inputs = {{f.join(f.in), values}};
  return row;
}

OpCase max_case(const Family& f) {
  OpCase row = pool_case(f, "max_pool", "", Values::distinct);
  row.run = [f](const std::vector<Tensor>& t) {
    return f.axes == 1   ? max_pool1d(t[0], last<1>(f.kernel), max_options<1>(f))
           : f.axes == 2 ? max_pool2d(t[0], last<2>(f.kernel), max_options<2>(f))
                         : max_pool3d(t[0], last<3>(f.kernel), max_options<3>(f));
  };
  row.reference = [f](const std::vector<Plain>& t) { return maxima(f, t[0]); };
  row.exact = true;
  if (has_empty_windows(f)) row.derivatives = 0;
  return row;
}

MaxPoolResult adaptive_max_with_indices(const Family& f, const Tensor& x) {
  return f.axes == 1   ? adaptive_max_pool1d_with_indices(x, last<1>(f.adaptive))
         : f.axes == 2 ? adaptive_max_pool2d_with_indices(x, last<2>(f.adaptive))
                       : adaptive_max_pool3d_with_indices(x, last<3>(f.adaptive));
}

MaxPoolResult max_with_indices(const Family& f, const Tensor& x) {
  if (f.adaptive[2] > 0) return adaptive_max_with_indices(f, x);
  return f.axes == 1   ? max_pool1d_with_indices(x, last<1>(f.kernel), max_options<1>(f))
         : f.axes == 2 ? max_pool2d_with_indices(x, last<2>(f.kernel), max_options<2>(f))
                       : max_pool3d_with_indices(x, last<3>(f.kernel), max_options<3>(f));
}

/// The largest elements, which the result is besides its indices.
OpCase max_with_indices_case(const Family& f, bool indices) {
  OpCase row = pool_case(f, f.adaptive[2] > 0 ? "adaptive_max_pool" : "max_pool",
                         indices ? ", the indices" : ", the output", Values::distinct);
  row.op += "_with_indices";
  row.run = [f, indices](const std::vector<Tensor>& t) {
    const MaxPoolResult result = max_with_indices(f, t[0]);
    return indices ? result.indices : result.output;
  };
  row.reference = [f, indices](const std::vector<Plain>& t) { return indices ? positions(f, t[0]) : maxima(f, t[0]); };
  row.exact = true;
  if (indices) row.dtype = DType::i64;
  if (indices || has_empty_windows(f)) row.derivatives = 0;
  return row;
}

OpCase avg_case(const Family& f, bool count_padding, std::optional<std::int64_t> divisor = {}) {
  const std::string what = divisor ? ", divisor " + std::to_string(*divisor) : count_padding ? "" : ", not the padding";
  OpCase row = pool_case(f, "avg_pool", what, Values::any);
  row.run = [=](const std::vector<Tensor>& t) {
    return f.axes == 1   ? avg_pool1d(t[0], last<1>(f.kernel), avg_options<1>(f, count_padding, divisor))
           : f.axes == 2 ? avg_pool2d(t[0], last<2>(f.kernel), avg_options<2>(f, count_padding, divisor))
                         : avg_pool3d(t[0], last<3>(f.kernel), avg_options<3>(f, count_padding, divisor));
  };
  row.reference = [=](const std::vector<Plain>& t) { return means(f, t[0], count_padding, divisor); };
  return row;
}

OpCase lp_case(const Family& f, double norm, Values values) {
  OpCase row = pool_case(f, "lp_pool", ", norm " + std::to_string(norm), values);
  row.run = [f, norm](const std::vector<Tensor>& t) {
    return f.axes == 1   ? lp_pool1d(t[0], norm, last<1>(f.kernel), lp_options<1>(f))
           : f.axes == 2 ? lp_pool2d(t[0], norm, last<2>(f.kernel), lp_options<2>(f))
                         : lp_pool3d(t[0], norm, last<3>(f.kernel), lp_options<3>(f));
  };
  row.reference = [f, norm](const std::vector<Plain>& t) {
    const Plain powers = map(t[0], [norm](double x) { return std::pow(x, norm); });
    const auto volume = static_cast<double>(volume_of(f.kernel));
    return map(means(f, powers, true, {}), [=](double x) { return std::pow(x * volume, 1 / norm); });
  };
  return row;
}

OpCase adaptive_case(const Family& f, bool maximum) {
  OpCase row =
      pool_case(f, maximum ? "adaptive_max_pool" : "adaptive_avg_pool", "", maximum ? Values::distinct : Values::any);
  row.run = [f, maximum](const std::vector<Tensor>& t) {
    if (maximum) {
      return f.axes == 1   ? adaptive_max_pool1d(t[0], last<1>(f.adaptive))
             : f.axes == 2 ? adaptive_max_pool2d(t[0], last<2>(f.adaptive))
                           : adaptive_max_pool3d(t[0], last<3>(f.adaptive));
    }
    return f.axes == 1   ? adaptive_avg_pool1d(t[0], last<1>(f.adaptive))
           : f.axes == 2 ? adaptive_avg_pool2d(t[0], last<2>(f.adaptive))
                         : adaptive_avg_pool3d(t[0], last<3>(f.adaptive));
  };
  row.reference = [f, maximum](const std::vector<Plain>& t) {
    return maximum ? maxima(f, t[0]) : means(f, t[0], false, {});
  };
  row.exact = maximum;
  return row;
}

/// Back from f's output to its input; the indices need not be inside.
OpCase unpool_case(const Family& f, Values indices, std::int64_t limit = 2) {
  OpCase row{.op = "max_unpool" + std::to_string(f.axes) + "d", .what = f.what};
  row.inputs = {{f.join(f.out())}, {f.join(f.out()), indices, DType::i64, limit}};
  row.run = [f](const std::vector<Tensor>& t) {
    return f.axes == 1   ? max_unpool1d(t[0], t[1], last<1>(f.kernel), unpool_options<1>(f), last<1>(f.in))
           : f.axes == 2 ? max_unpool2d(t[0], t[1], last<2>(f.kernel), unpool_options<2>(f), last<2>(f.in))
                         : max_unpool3d(t[0], t[1], last<3>(f.kernel), unpool_options<3>(f), last<3>(f.in));
  };
  row.reference = [f](const std::vector<Plain>& t) {
    const Sizes shape = f.join(f.in);
    Plain x{shape, std::vector<double>(static_cast<std::size_t>(count(shape)))};
    for (std::size_t i = 0; i < t[0].values.size(); ++i) {
      const double at = t[1].values[i];
      if (at < 0 || at >= static_cast<double>(volume_of(f.in))) continue;
      x.values[i / volume_of(f.out()) * volume_of(f.in) + static_cast<std::size_t>(at)] = t[0].values[i];
    }
    return x;
  };
  row.exact = true;
  return row;
}

OpCase global_case(const Family& f, bool maximum) {
  OpCase row{.op = maximum ? "global_max_pool" : "global_avg_pool", .what = f.what};
  row.inputs = {{f.join(f.in), maximum ? Values::distinct : Values::any}};
  if (!f.batch) row.op += "2d";
  row.run = [f, maximum](const std::vector<Tensor>& t) {
    if (!f.batch) return maximum ? global_max_pool2d(t[0]) : global_avg_pool2d(t[0]);
    return maximum ? global_max_pool(t[0]) : global_avg_pool(t[0]);
  };
  row.reference = [f, maximum](const std::vector<Plain>& t) {
    return maximum ? maxima(f, t[0]) : means(f, t[0], false, {});
  };
  row.exact = maximum;
  return row;
}

/// Windows with stride, padding and dilation.
Family windows(std::string what, int axes, std::array<std::int64_t, 2> batch, Triple in, Triple kernel, Triple stride,
               Triple padding = {}, Triple dilation = {1, 1, 1}) {
  return {std::move(what), axes, batch[0], batch[1], in, kernel, stride, padding, dilation};
}

Family ceiling(Family f) {
  f.ceil_mode = true;
  f.what += ", ceil";
  return f;
}

std::vector<Family> dense_windows() {
  return {
      windows("line", 1, {2, 3}, {1, 1, 6}, {1, 1, 2}, {1, 1, 2}),
      windows("line, remainder", 1, {2, 3}, {1, 1, 8}, {1, 1, 3}, {1, 1, 3}),
      windows("line, overlapping, padded", 1, {1, 5}, {1, 1, 7}, {1, 1, 4}, {1, 1, 1}, {0, 0, 2}),
      windows("line, stride beyond the kernel", 1, {2, 2}, {1, 1, 9}, {1, 1, 2}, {1, 1, 4}, {0, 0, 1}),
      windows("one element", 1, {3, 4}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
      windows("C == L == kernel", 1, {2, 3}, {1, 1, 3}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}),
      windows("no image", 1, {0, 3}, {1, 1, 4}, {1, 1, 2}, {1, 1, 2}),
      windows("plane, overlapping, padded", 2, {2, 3}, {1, 5, 6}, {1, 3, 2}, {1, 2, 1}, {0, 1, 1}),
      windows("plane, stride beyond the kernel", 2, {1, 1}, {1, 8, 7}, {1, 2, 1}, {1, 3, 2}, {0, 1, 0}),
      windows("1x1 map in a padded kernel", 2, {2, 4}, {1, 1, 1}, {1, 2, 3}, {1, 1, 1}, {0, 1, 1}),
      windows("C == H == W", 2, {2, 4}, {1, 4, 4}, {1, 3, 3}, {1, 1, 2}, {0, 1, 0}),
      windows("volume", 3, {2, 3}, {2, 4, 4}, {2, 2, 2}, {2, 2, 2}),
      windows("volume, everything", 3, {1, 2}, {3, 5, 4}, {2, 3, 2}, {1, 2, 3}, {1, 0, 1}),
      windows("C == D == H == W", 3, {1, 3}, {3, 3, 3}, {2, 3, 1}, {1, 2, 1}, {1, 1, 0}),
      windows("no channel", 3, {2, 0}, {2, 3, 4}, {2, 2, 2}, {1, 1, 1}),
      ceiling(windows("line, remainder", 1, {2, 3}, {1, 1, 8}, {1, 1, 3}, {1, 1, 3})),
      ceiling(windows("line, a window in the padding", 1, {2, 2}, {1, 1, 5}, {1, 1, 2}, {1, 1, 3}, {0, 0, 1})),
      ceiling(windows("line, no window behind", 1, {1, 2}, {1, 1, 4}, {1, 1, 2}, {1, 1, 3}, {0, 0, 1})),
      ceiling(windows("line, kernel beyond the input", 1, {1, 2}, {1, 1, 3}, {1, 1, 4}, {1, 1, 2})),
      ceiling(windows("plane", 2, {2, 3}, {1, 6, 7}, {1, 3, 2}, {1, 2, 3}, {0, 1, 1})),
      ceiling(windows("plane, no remainder", 2, {1, 17}, {1, 4, 6}, {1, 2, 2}, {1, 2, 2})),
      ceiling(windows("volume", 3, {1, 2}, {3, 4, 6}, {2, 3, 3}, {2, 2, 2}, {1, 1, 0})),
  };
}

std::vector<Family> dilated_windows() {
  return {
      windows("line, dilated", 1, {2, 3}, {1, 1, 8}, {1, 1, 3}, {1, 1, 1}, {0, 0, 0}, {1, 1, 2}),
      windows("line, dilated, padded", 1, {2, 2}, {1, 1, 7}, {1, 1, 3}, {1, 1, 2}, {0, 0, 1}, {1, 1, 3}),
      windows("line, all there is in some windows is padding", 1, {2, 2}, {1, 1, 4}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1},
              {1, 1, 5}),
      windows("dilated by 3 with stride 2", 1, {1, 17}, {1, 1, 11}, {1, 1, 2}, {1, 1, 2}, {0, 0, 0}, {1, 1, 3}),
      windows("plane, dilated, padded", 2, {2, 3}, {1, 6, 7}, {1, 2, 3}, {1, 1, 2}, {0, 1, 1}, {1, 3, 2}),
      windows("C == H == W, dilated", 2, {1, 4}, {1, 4, 4}, {1, 2, 2}, {1, 1, 1}, {0, 0, 1}, {1, 2, 3}),
      windows("no image, dilated", 2, {0, 3}, {1, 4, 5}, {1, 2, 2}, {1, 1, 1}, {0, 1, 0}, {1, 2, 3}),
      windows("no channel, dilated", 1, {2, 0}, {1, 1, 5}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1}, {1, 1, 2}),
      windows("volume, dilated", 3, {1, 2}, {4, 3, 5}, {2, 2, 2}, {1, 2, 2}, {1, 0, 1}, {3, 2, 1}),
      ceiling(windows("line, dilated, padded", 1, {2, 2}, {1, 1, 8}, {1, 1, 3}, {1, 1, 3}, {0, 0, 1}, {1, 1, 2})),
      ceiling(windows("plane, dilated", 2, {1, 2}, {1, 6, 5}, {1, 2, 2}, {1, 3, 2}, {0, 1, 0}, {1, 2, 2})),
  };
}

std::vector<Family> adaptive_windows() {
  const auto adaptive = [](std::string what, int axes, std::array<std::int64_t, 2> batch, Triple in, Triple out) {
    Family f{.what = std::move(what), .axes = axes, .n = batch[0], .c = batch[1], .in = in};
    f.adaptive = out;
    return f;
  };
  return {
      adaptive("divides", 1, {2, 3}, {1, 1, 6}, {1, 1, 3}),
      adaptive("does not divide", 1, {2, 3}, {1, 1, 7}, {1, 1, 3}),
      adaptive("up", 1, {1, 5}, {1, 1, 3}, {1, 1, 7}),
      adaptive("the same", 1, {2, 2}, {1, 1, 4}, {1, 1, 4}),
      adaptive("to one", 1, {2, 2}, {1, 1, 5}, {1, 1, 1}),
      adaptive("one element up", 1, {2, 3}, {1, 1, 1}, {1, 1, 3}),
      adaptive("divides", 2, {2, 3}, {1, 4, 6}, {1, 2, 2}),
      adaptive("one axis divides", 2, {2, 3}, {1, 4, 5}, {1, 2, 3}),
      adaptive("up and down", 2, {1, 17}, {1, 3, 5}, {1, 5, 2}),
      adaptive("C == H == W", 2, {2, 5}, {1, 5, 5}, {1, 3, 4}),
      adaptive("no image", 2, {0, 3}, {1, 5, 5}, {1, 2, 3}),
      adaptive("divides", 3, {1, 2}, {4, 2, 6}, {2, 2, 3}),
      adaptive("does not divide", 3, {1, 3}, {3, 4, 5}, {2, 3, 2}),
      adaptive("up", 3, {1, 2}, {2, 1, 3}, {3, 2, 4}),
  };
}

void add_unpoolings(std::vector<OpCase>& rows) {
  const auto family = [](std::string what, int axes, std::array<std::int64_t, 2> batch, Triple in, Triple kernel) {
    return windows(std::move(what), axes, batch, in, kernel, kernel);
  };
  const Family line = family("equal indices", 1, {2, 3}, {1, 1, 8}, {1, 1, 2});
  rows.push_back(unpool_case(line, Values::natural, 8));
  rows.push_back(unpool_case(family("indices outside", 1, {2, 17}, {1, 1, 9}, {1, 1, 3}), Values::natural, 12));
  rows.push_back(unpool_case(family("negative indices", 2, {1, 3}, {1, 4, 6}, {1, 2, 2}), Values::whole));
  rows.push_back(unpool_case(family("other output size", 2, {2, 2}, {1, 5, 7}, {1, 2, 3}), Values::natural, 40));
  rows.push_back(unpool_case(windows("stride, padding", 2, {1, 4}, {1, 4, 4}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
                             Values::natural, 16));
  rows.push_back(unpool_case(family("1x1 map", 2, {2, 3}, {1, 1, 1}, {1, 1, 1}), Values::natural));
  rows.push_back(unpool_case(family("no image", 2, {0, 3}, {1, 4, 4}, {1, 2, 2}), Values::natural));
  rows.push_back(unpool_case(family("volume", 3, {1, 3}, {2, 4, 4}, {1, 2, 2}), Values::natural, 32));
  rows.push_back(unpool_case(family("no channel", 3, {2, 0}, {2, 2, 2}, {2, 2, 2}), Values::natural));
}

void add_averages(std::vector<OpCase>& rows, const Family& f) {
  rows.push_back(avg_case(f, true));
  rows.push_back(avg_case(f, false));
  if (f.padding == Triple{}) {
    rows.push_back(lp_case(f, 2, Values::nonzero));
    rows.push_back(lp_case(f, 1, Values::any));
    rows.push_back(lp_case(f, f.ceil_mode ? 3 : 1.5, Values::positive));
  }
}

/// One channel too: only the batch axis goes.
void add_without_batch(std::vector<OpCase>& rows) {
  const Triple out{2, 1, 3};
  for (const std::int64_t c : {1, 3}) {
    for (Family f : {windows("", 1, {1, c}, {1, 1, 7}, {1, 1, 3}, {1, 1, 2}),
                     windows("", 2, {1, c}, {1, 4, 5}, {1, 2, 3}, {1, 2, 1}),
                     windows("", 3, {1, c}, {3, 4, 4}, {2, 2, 1}, {1, 2, 3})}) {
      f.batch = false;
      f.what = "no axis N";
      rows.push_back(max_case(f));
      rows.push_back(max_with_indices_case(f, true));
      rows.push_back(max_with_indices_case(f, false));
      rows.push_back(avg_case(f, true));
      rows.push_back(lp_case(f, 2, Values::nonzero));
      rows.push_back(unpool_case(f, Values::natural, static_cast<std::int64_t>(volume_of(f.in))));
      for (std::size_t d = 3 - static_cast<std::size_t>(f.axes); d < 3; ++d) f.adaptive[d] = out[d];
      rows.push_back(adaptive_case(f, true));
      rows.push_back(adaptive_case(f, false));
      rows.push_back(max_with_indices_case(f, true));
      rows.push_back(max_with_indices_case(f, false));
      if (f.axes != 2) continue;
      f.adaptive = {1, 1, 1};
      rows.push_back(global_case(f, true));
      rows.push_back(global_case(f, false));
    }
  }
}

}  // namespace

std::vector<OpCase> pool_family_cases() {
  std::vector<OpCase> rows;
  for (const Family& f : dense_windows()) {
    rows.push_back(max_case(f));
    add_averages(rows, f);
  }
  for (const Family& f : dilated_windows()) {
    rows.push_back(max_case(f));
    rows.push_back(max_with_indices_case(f, true));
    rows.push_back(max_with_indices_case(f, false));
    add_averages(rows, f);
    rows.push_back(avg_case(f, true, 3));
  }
  for (const int axes : {1, 2, 3}) {
    const Triple two{axes > 2 ? 2 : 1, axes > 1 ? 2 : 1, 2};
    Family f = windows("specials", axes, {3, 5}, {axes > 2 ? 4 : 1, axes > 1 ? 4 : 1, 6}, two, two);
    OpCase row = max_case(f);
    row.inputs[0].values = Values::special;
    row.derivatives = 0;
    rows.push_back(row);
    f.what = "divided by a number";
    f.padding[2] = 1;
    rows.push_back(avg_case(f, true, 3));
    rows.push_back(avg_case(ceiling(f), false, -2));
  }
  for (const Family& f : adaptive_windows()) {
    rows.push_back(adaptive_case(f, true));
    rows.push_back(adaptive_case(f, false));
    rows.push_back(max_with_indices_case(f, true));
    rows.push_back(max_with_indices_case(f, false));
  }
  add_unpoolings(rows);
  add_without_batch(rows);
  for (Family f : {Family{"line", 1, 2, 3, {1, 1, 5}}, Family{"plane", 2, 2, 3, {1, 3, 4}},
                   Family{"volume", 3, 1, 2, {2, 3, 2}}, Family{"one element", 1, 1, 1}}) {
    f.adaptive = {1, 1, 1};
    rows.push_back(global_case(f, true));
    rows.push_back(global_case(f, false));
  }
  return rows;
}

}  // namespace weft::cases
