#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

using Group = std::vector<double>;
using Function = Tensor (*)(const Tensor&, const Axes&, bool);

double sum_of(const Group& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double mean_of(const Group& v) { return sum_of(v) / static_cast<double>(v.size()); }
double largest(const Group& v) { return *std::max_element(v.begin(), v.end()); }
double smallest(const Group& v) { return *std::min_element(v.begin(), v.end()); }

double variance(const Group& v, double correction) {
  const double centre = mean_of(v);
  double squares = 0;
  for (double x : v) squares += (x - centre) * (x - centre);
  return squares / std::fmax(static_cast<double>(v.size()) - correction, 0);
}

double log_sum_exp(const Group& v) {
  double total = 0;
  for (double x : v) total += std::exp(x);
  return std::log(total);
}

struct Reduction {
  const char* name;
  Function run;
  double (*reference)(const Group&);
  Values values = Values::any;
  bool of_nothing = true;  // defined for empty groups
  bool of_one = true;      // defined for groups of one
};

const Reduction kReductions[] = {
    {"sum", sum, sum_of},
    {"mean", mean, mean_of, Values::any, false},
    {"max", max, largest, Values::distinct, false},
    {"min", min, smallest, Values::distinct, false},
    {"var", [](const Tensor& x, const Axes& axes, bool keep) { return var(x, axes, 1, keep); },
     [](const Group& v) { return variance(v, 1); }, Values::any, false, false},
    {"var", [](const Tensor& x, const Axes& axes, bool keep) { return var(x, axes, 0, keep); },
     [](const Group& v) { return variance(v, 0); }, Values::any, false},
    {"logsumexp", logsumexp, log_sum_exp, Values::any},
};

struct Over {
  Sizes shape;
  std::vector<int> axes;  // empty: none, {-1}: all
  bool keep = false;
};

const std::vector<Over>& overs() {
  static const std::vector<Over> list{
      {{2, 3, 7}, {-1}},
      {{2, 3, 7}, {-1}, true},
      {{2, 3, 7}, {0}},
      {{2, 3, 7}, {1}, true},
      {{2, 3, 7}, {2}},
      {{2, 3, 7}, {0, 2}},
      {{2, 5, 3, 3}, {0, 2, 3}},
      {{2, 5, 3, 3}, {2, 3}, true},
      {{4, 37}, {1}},
      {{37, 4}, {0}},
      {{2, 3, 5}, {0, 1}},
      {{5}, {-1}},
      {{0, 3}, {1}},
      {{3, 1, 2}, {1}},
      {{1, 1}, {-1}},
      {{}, {-1}},
  };
  return list;
}

std::vector<int> listed(const Over& over) {
  if (over.axes != std::vector<int>{-1}) return over.axes;
  std::vector<int> all(over.shape.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

Axes to_axes(const Over& over) {
  if (over.axes == std::vector<int>{-1}) return Axes::all();
  Dims dims;
  for (int axis : over.axes) dims.push_back(axis);
  return dims;
}

std::int64_t group_size(const Over& over) {
  std::int64_t size = 1;
  for (int axis : listed(over)) size *= over.shape[static_cast<std::size_t>(axis)];
  return size;
}

OpCase reduced(const Reduction& reduction, const Over& over) {
  OpCase row;
  row.op = reduction.name;
  row.what = "axes " + (over.axes == std::vector<int>{-1} ? "all" : weft::to_string(to_axes(over).list())) +
             (over.keep ? ", kept" : "");
  row.inputs = {{over.shape, reduction.values}};
  row.run = [run = reduction.run, axes = to_axes(over), keep = over.keep](const std::vector<Tensor>& x) {
    return run(x[0], axes, keep);
  };
  row.reference = [reference = reduction.reference, axes = listed(over),
                   keep = over.keep](const std::vector<Plain>& x) { return reduce(x[0], axes, keep, reference); };
  return row;
}

void add_integers(std::vector<OpCase>& rows) {
  const Over over{{4, 19}, {1}};
  for (DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64}) {
    for (const Reduction& reduction : kReductions) {
      OpCase row = reduced(reduction, over);
      const bool extreme = row.op == "max" || row.op == "min";
      row.inputs[0] = {over.shape, Values::natural, dtype};
      row.dtype = extreme ? dtype : row.op == "sum" ? DType::i64 : DType::f32;
      row.derivatives = 0;
      row.exact = extreme || row.op == "sum";
      rows.push_back(row);
    }
  }
}

void add_specials(std::vector<OpCase>& rows) {
  const auto extreme = [](bool max) {
    return [max](const Group& v) {
      double best = v[0];
      for (double x : v) {
        if (std::isnan(best)) break;
        if (std::isnan(x) || (max ? x > best : x < best)) best = x;
      }
      return best;
    };
  };
  for (bool is_max : {true, false}) {
    OpCase row = reduced(kReductions[is_max ? 2 : 3], {{6, 23}, {1}});
    row.what += ", NaN wins";
    row.inputs[0].values = Values::special;
    row.reference = [extreme, is_max](const std::vector<Plain>& x) {
      return reduce(x[0], {1}, false, extreme(is_max));
    };
    row.derivatives = 0;
    rows.push_back(row);
  }
}

void add_arguments(std::vector<OpCase>& rows) {
  const auto first = [](bool max) {
    return [max](const Group& v) {
      std::size_t best = 0;
      for (std::size_t i = 0; i < v.size() && !std::isnan(v[best]); ++i) {
        if (std::isnan(v[i]) || (max ? v[i] > v[best] : v[i] < v[best])) best = i;
      }
      return static_cast<double>(best);
    };
  };
  for (bool is_max : {true, false}) {
    const auto add = [&](Input input, std::optional<int> axis, bool keep) {
      OpCase row{.op = is_max ? "argmax" : "argmin",
                 .what = (axis ? "axis " + std::to_string(*axis) : std::string("flattened")) + (keep ? ", kept" : "")};
      const Over over{input.shape, axis ? std::vector<int>{*axis} : std::vector<int>{-1}, keep};
      row.inputs = {std::move(input)};
      row.run = [=](const std::vector<Tensor>& x) {
        return is_max ? argmax(x[0], axis, keep) : argmin(x[0], axis, keep);
      };
      row.reference = [=](const std::vector<Plain>& x) { return reduce(x[0], listed(over), keep, first(is_max)); };
      row.dtype = DType::i64;
      row.derivatives = 0;
      rows.push_back(row);
    };
    add({{3, 7}}, {}, false);
    add({{3, 7}}, {}, true);
    add({{2, 3, 7}}, 0, false);
    add({{2, 3, 7}}, 1, true);
    add({{2, 3, 37}}, 2, false);
    add({{4, 11}, Values::whole}, 1, false);  // ties
    add({{6, 9}, Values::special}, 1, false);
    add({{4, 11}, Values::whole, DType::i64}, 0, false);
    add({{4, 11}, Values::natural, DType::u8}, 1, false);
    add({{}}, {}, false);
    add({{0, 3}}, 1, false);
    add({{1, 1}}, 0, false);
  }
}

void add_sum_to(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes from, Sizes to_sizes) {
    OpCase row{.op = "sum_to", .what = weft::to_string(to_shape(to_sizes)), .inputs = {{from}}};
    row.run = [shape = to_shape(to_sizes)](const std::vector<Tensor>& x) { return sum_to(x[0], shape); };
    row.reference = [to_sizes](const std::vector<Plain>& x) {
      Plain out = generate(to_sizes, [](const Index&) { return 0.0; });
      for_each_index(x[0].shape, [&](const Index& i) {
        Index target(i.end() - static_cast<std::ptrdiff_t>(to_sizes.size()), i.end());
        for (std::size_t a = 0; a < target.size(); ++a) {
          if (to_sizes[a] == 1) target[a] = 0;
        }
        out.at(target) += x[0].at(i);
      });
      return out;
    };
    rows.push_back(row);
  };
  add({2, 3, 7}, {3, 7});
  add({2, 3, 7}, {2, 1, 7});
  add({2, 3, 7}, {3, 1});
  add({2, 3, 7}, {});
  add({2, 3}, {2, 3});
  add({0, 3}, {1, 3});
  add({3, 0}, {});
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  std::vector<OpCase> rows;
  for (const Reduction& reduction : kReductions) {
    for (const Over& over : overs()) {
      if (!reduction.of_one && group_size(over) == 1) continue;
      rows.push_back(reduced(reduction, over));
    }
    if (reduction.of_one) {  // an empty list of axes reduces nothing; a variance is then 0
      rows.push_back(reduced(reduction, {{2, 3}, {}}));
      rows.push_back(reduced(reduction, {{2, 3}, {}, true}));
    }
  }
  for (const auto& [shape, axis] : {std::pair{Sizes{0, 3}, 0}, std::pair{Sizes{2, 0}, 1}}) {
    rows.push_back(reduced(kReductions[0], {shape, {axis}}));
    rows.push_back(reduced(kReductions[6], {shape, {axis}, true}));
    rows.back().derivatives = 1;  // the second ones divide 0 by exp(-infinity)
  }
  for (const auto& [reduction, shape] :
       {std::pair{kReductions[1], Sizes{3, 0}}, std::pair{kReductions[5], Sizes{3, 0}}}) {
    OpCase row = reduced(reduction, {shape, {1}});  // NaN
    row.derivatives = 0;
    rows.push_back(row);
  }
  add_integers(rows);
  add_specials(rows);
  add_arguments(rows);
  add_sum_to(rows);
  return rows;
}

}  // namespace weft::cases
