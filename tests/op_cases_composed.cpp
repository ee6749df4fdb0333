#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/op_cases.h"

/// The rows of reductions, copies and ranges that are composed of other ops.
namespace weft::cases {

namespace {

using Group = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Over {
  Sizes shape;
  std::vector<int> axes;  // empty: all
  bool keep = false;
};

const std::vector<Over>& overs() {
  static const std::vector<Over> list{{{2, 3, 7}, {}},     {{2, 3, 7}, {}, true},
                                      {{2, 3, 7}, {0}},    {{2, 3, 7}, {1}, true},
                                      {{4, 5, 3}, {0, 2}}, {{3, 1, 2}, {1}},
                                      {{5}, {}},           {{0, 3}, {1}},
                                      {{1, 1}, {}},        {{}, {}}};
  return list;
}

std::vector<int> listed(const Over& over) {
  std::vector<int> all(over.shape.size());
  std::iota(all.begin(), all.end(), 0);
  return over.axes.empty() ? all : over.axes;
}

Axes to_axes(const Over& over) {
  if (over.axes.empty()) return Axes::all();
  Dims dims;
  for (const int axis : over.axes) dims.push_back(axis);
  return dims;
}

using Function = std::function<Tensor(const Tensor&, const Axes&, bool)>;
using Reference = std::function<double(const Group&)>;

OpCase reduced(const char* op, const std::string& what, Input input, const Over& over, const Function& run,
               const Reference& reference) {
  OpCase row{.op = op, .inputs = {std::move(input)}};
  row.inputs[0].shape = over.shape;
  row.what = what + "axes " + (over.axes.empty() ? "all" : weft::to_string(to_axes(over).list())) +
             (over.keep ? ", kept" : "");
  row.run = [=](const std::vector<Tensor>& x) { return run(x[0], to_axes(over), over.keep); };
  row.reference = [=](const std::vector<Plain>& x) { return reduce(x[0], listed(over), over.keep, reference); };
  return row;
}

double product(const Group& v) { return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies<>()); }

double deviation(const Group& v, double correction) {
  const double n = static_cast<double>(v.size()), centre = std::accumulate(v.begin(), v.end(), 0.0) / n;
  double squares = 0;
  for (const double x : v) squares += (x - centre) * (x - centre);
  return std::sqrt(squares / (n - correction));
}

double norm_of(const Group& v, double p) {
  double total = 0, most = 0, least = kInfinity;
  for (const double x : v) {
    total += p == 0 ? (x != 0 ? 1 : 0) : std::pow(std::fabs(x), p);
    most = std::fmax(most, std::fabs(x));
    least = std::fmin(least, std::fabs(x));
  }
  return p == 0 ? total : p == kInfinity ? most : p == -kInfinity ? least : std::pow(total, 1 / p);
}

void add_products(std::vector<OpCase>& rows) {
  const Function run = [](const Tensor& x, const Axes& axes, bool keep) { return prod(x, axes, keep); };
  for (const Over& over : overs()) rows.push_back(reduced("prod", "", {{}, Values::nonzero}, over, run, product));
  // Whole numbers have zeros, one and several in a row: a gradient is a product of the others.
  for (const std::int64_t size : {1, 2, 3, 8, 13}) {
    rows.push_back(reduced("prod", "zeros, ", {{}, Values::whole}, {{6, size}, {1}}, run, product));
  }
  rows.push_back(reduced("prod", "of nothing, ", {}, {{2, 0}, {1}}, run, product));
  for (const DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64}) {
    rows.push_back(reduced("prod", "", {{}, Values::natural, dtype, 4}, {{4, 7}, {1}}, run, product));
    if (dtype == DType::boolean) rows.back().inputs[0].limit = 2;
    rows.back().dtype = DType::i64;
    rows.back().derivatives = 0;
    rows.back().exact = true;
  }
}

void add_norms(std::vector<OpCase>& rows) {
  for (const double p : {2.0, 1.0, 3.0, 0.5, 1.5, -1.0, 0.0, kInfinity, -kInfinity}) {
    const Function run = [p](const Tensor& x, const Axes& axes, bool keep) { return norm(x, p, axes, keep); };
    const Reference reference = [p](const Group& v) { return norm_of(v, p); };
    const bool extreme = std::isinf(p);
    const std::string what = "p " + std::to_string(p) + ", ";
    for (const Over& over : overs()) {
      if (p != 2 && over.shape.size() != 3) continue;
      Input input{{}, Values::nonzero};
      // The gradient of an extreme is shared by equal magnitudes.
      if (extreme) input.values = Values::positive;
      rows.push_back(reduced("norm", what, input, over, run, reference));
      if (p == 0) rows.back().derivatives = 0;
    }
    if (p < 0 || extreme) continue;
    rows.push_back(reduced("norm", what + "zeros, ", {{}, Values::whole}, {{3, 9}, {1}}, run, reference));
    rows.back().derivatives = 0;
    rows.push_back(reduced("norm", what + "of nothing, ", {}, {{2, 0}, {1}}, run, [](const Group&) { return 0.0; }));
    if (p == 0) rows.back().derivatives = 0;
  }
  rows.push_back(reduced(
      "norm", "", {{}, Values::whole, DType::i32}, {{4, 7}, {1}},
      [](const Tensor& x, const Axes& axes, bool keep) { return norm(x, 2, axes, keep); },
      [](const Group& v) { return norm_of(v, 2); }));
  rows.back().dtype = DType::f32;
  rows.back().derivatives = 0;
}

void add_deviations(std::vector<OpCase>& rows) {
  for (const std::int64_t correction : {1, 0}) {
    for (const Over& over : overs()) {
      std::int64_t size = 1;
      for (const int axis : listed(over)) size *= over.shape[static_cast<std::size_t>(axis)];
      if (size < 2) continue;
      rows.push_back(reduced(
          "std", "correction " + std::to_string(correction) + ", ", {}, over,
          [correction](const Tensor& x, const Axes& axes, bool keep) { return weft::std(x, axes, correction, keep); },
          [correction](const Group& v) { return deviation(v, static_cast<double>(correction)); }));
    }
  }
}

void add_predicates(std::vector<OpCase>& rows) {
  const auto is_set = [](double x) { return x != 0; };
  for (const bool every : {false, true}) {
    const auto run = [every](const Tensor& x, const Axes& axes, bool keep) {
      return every ? all(x, axes, keep) : any(x, axes, keep);
    };
    const auto reference = [every, is_set](const Group& v) {
      return (every ? std::all_of(v.begin(), v.end(), is_set) : std::any_of(v.begin(), v.end(), is_set)) ? 1.0 : 0.0;
    };
    const auto add = [&](Input input, const Over& over) {
      rows.push_back(reduced(every ? "all" : "any", "", std::move(input), over, run, reference));
      rows.back().dtype = DType::boolean;
      rows.back().derivatives = 0;
    };
    for (const Over& over : overs()) add({{}, Values::natural}, over);
    for (const DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64})
      add({{}, Values::natural, dtype}, {{5, 2}, {1}});
    add({{}, Values::special}, {{9, 2}, {1}});
    add({}, {{0}, {}});
    add({}, {{2, 0, 3}, {1}, true});
  }
}

void add_tiles(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes in, const Dims& repeats, Sizes out) {
    OpCase row{.op = "tile", .what = weft::to_string(repeats), .inputs = {{in}}};
    row.run = [repeats](const std::vector<Tensor>& x) { return tile(x[0], repeats); };
    row.reference = [in, out](const std::vector<Plain>& x) {
      return generate(out, [&](const Index& i) {
        Index from(i.end() - static_cast<std::ptrdiff_t>(in.size()), i.end());
        for (std::size_t a = 0; a < in.size(); ++a) from[a] %= in[a];
        return x[0].at(from);
      });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add({2, 3}, {2, 3}, {4, 9});
  add({2, 3}, {2}, {2, 6});
  add({2, 3}, {2, 1, 1}, {2, 2, 3});
  add({2, 1, 3}, {1, 4, 1}, {2, 4, 3});
  add({2, 3}, {1, 1}, {2, 3});
  add({2, 3}, {}, {2, 3});
  add({2, 3}, {0, 2}, {0, 6});
  add({0, 3}, {3, 2}, {0, 6});
  add({}, {3}, {3});
  add({}, {}, {});
}

void add_triangles(std::vector<OpCase>& rows) {
  const auto add = [&](Input input, std::int64_t diagonal, bool lower) {
    OpCase row{.op = lower ? "tril" : "triu", .what = "diagonal " + std::to_string(diagonal), .inputs = {input}};
    row.run = [=](const std::vector<Tensor>& x) { return lower ? tril(x[0], diagonal) : triu(x[0], diagonal); };
    row.reference = [=](const std::vector<Plain>& x) {
      return generate(x[0].shape, [&](const Index& i) {
        const std::int64_t from_main = i[i.size() - 1] - i[i.size() - 2];
        return (lower ? from_main <= diagonal : from_main >= diagonal) ? x[0].at(i) : 0;
      });
    };
    row.exact = true;
    row.dtype = input.dtype;
    if (input.dtype || input.values == Values::special) row.derivatives = 0;
    rows.push_back(row);
  };
  for (const bool lower : {true, false}) {
    for (const Sizes& shape : {Sizes{4, 4}, Sizes{3, 5}, Sizes{2, 5, 3}, Sizes{1, 1}, Sizes{2, 0, 3}}) {
      for (const std::int64_t diagonal : {0, 1, -2, 7, -7}) add({shape}, diagonal, lower);
    }
    add({{3, 4}}, INT64_MAX, lower);
    add({{3, 4}}, INT64_MIN, lower);
    add({{5, 6}, Values::special}, 0, lower);
    for (const DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64})
      add({{4, 3}, Values::natural, dtype}, 1, lower);
  }
}

/// Every part, joined in the opposite order.
void add_parts(std::vector<OpCase>& rows) {
  using Cut = std::function<std::vector<Tensor>(const Tensor&)>;
  const auto add = [&](const char* op, std::string what, Sizes shape, std::size_t axis, const Sizes& sizes,
                       const Cut& cut) {
    OpCase row{.op = op, .what = std::move(what), .inputs = {{shape}}};
    row.run = [=](const std::vector<Tensor>& x) {
      std::vector<Tensor> parts = cut(x[0]);
      std::reverse(parts.begin(), parts.end());
      return concatenate(parts, static_cast<int>(axis));
    };
    row.reference = [=](const std::vector<Plain>& x) {
      std::vector<std::int64_t> from;
      std::int64_t end = shape[axis];
      for (auto size = sizes.rbegin(); size != sizes.rend(); ++size, end = end - *(size - 1)) {
        for (std::int64_t i = 0; i < *size; ++i) from.push_back(end - *size + i);
      }
      return generate(shape, [&](Index i) {
        i[axis] = from[static_cast<std::size_t>(i[axis])];
        return x[0].at(i);
      });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add("split", "of 3", {7, 2}, 0, {3, 3, 1}, [](const Tensor& x) { return split(x, 3); });
  add("split", "of 9", {2, 7}, 1, {7}, [](const Tensor& x) { return split(x, 9, -1); });
  add("split", "sizes", {2, 7}, 1, {1, 0, 4, 2}, [](const Tensor& x) {
    return split(x, std::vector<std::int64_t>{1, 0, 4, 2}, 1);
  });
  add("split", "of nothing", {0, 2}, 0, {0}, [](const Tensor& x) { return split(x, 3); });
  add("chunk", "3", {7, 2}, 0, {3, 3, 1}, [](const Tensor& x) { return chunk(x, 3); });
  add("chunk", "4 give 3", {2, 6}, 1, {2, 2, 2}, [](const Tensor& x) { return chunk(x, 4, 1); });
  add("chunk", "more than there are", {2, 1, 3}, 2, {1, 1, 1}, [](const Tensor& x) { return chunk(x, 5, -1); });
  add("chunk", "of nothing", {0}, 0, {0, 0}, [](const Tensor& x) { return chunk(x, 2); });
}

/// Ranges are made on the device of an input that they do not read.
void add_ranges(std::vector<OpCase>& rows) {
  const auto add = [&](double start, double stop, std::int64_t steps, std::optional<DType> dtype = {}) {
    OpCase row{.op = "linspace", .what = std::to_string(steps) + " steps", .inputs = {{{1}}}};
    row.run = [=](const std::vector<Tensor>& x) {
      return linspace(start, stop, steps, {.dtype = dtype.value_or(x[0].dtype()), .device = x[0].device()});
    };
    row.reference = [=](const std::vector<Plain>&) {
      return generate({steps}, [&](const Index& i) {
        if (steps == 1) return start;
        const double share = static_cast<double>(i[0]) / static_cast<double>(steps - 1);
        const double value = start + share * (stop - start);
        return dtype ? std::trunc(value) : value;
      });
    };
    row.dtype = dtype;
    row.derivatives = 0;
    row.any_layout = false;
    row.takes_bf16 = false;
    rows.push_back(row);
  };
  for (const std::int64_t steps : {0, 1, 2, 3, 10, 33}) add(-3, 10.5, steps);
  add(2, -7, 6);
  add(4, 4, 3);
  add(0, 9, 7, DType::i64);
  OpCase filled{.op = "full_like", .inputs = {{{3, 4}}}};
  filled.run = [](const std::vector<Tensor>& x) { return full_like(x[0], 2.5); };
  filled.reference = [](const std::vector<Plain>& x) { return map(x[0], [](double) { return 2.5; }); };
  filled.derivatives = 0;
  filled.exact = true;
  rows.push_back(filled);
}

}  // namespace

std::vector<OpCase> composed_cases() {
  std::vector<OpCase> rows;
  add_products(rows);
  add_norms(rows);
  add_deviations(rows);
  add_predicates(rows);
  add_tiles(rows);
  add_triangles(rows);
  add_parts(rows);
  add_ranges(rows);
  return rows;
}

}  // namespace weft::cases
