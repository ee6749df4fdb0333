#include <algorithm>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

using Padding = std::vector<std::pair<std::int64_t, std::int64_t>>;

OpCase unary_row(const char* op, std::string what, Input input, std::function<Tensor(const Tensor&)> run,
                 std::function<Plain(const Plain&)> reference) {
  OpCase row;
  row.op = op;
  row.what = std::move(what);
  row.inputs = {std::move(input)};
  row.run = [run = std::move(run)](const std::vector<Tensor>& x) { return run(x[0]); };
  row.reference = [reference = std::move(reference)](const std::vector<Plain>& x) { return reference(x[0]); };
  row.exact = true;
  return row;
}

Plain same(const Plain& x) { return x; }

void add_pads(std::vector<OpCase>& rows) {
  const auto add = [&](std::string what, Sizes in, Padding padding, double value) {
    rows.push_back(unary_row(
        "pad", std::move(what), {std::move(in)},
        [=](const Tensor& x) { return pad(x, padding, PadMode::constant, value); },
        [=](const Plain& x) {
          Sizes out = x.shape;
          for (std::size_t a = 0; a < out.size(); ++a) out[a] += padding[a].first + padding[a].second;
          return generate(out, [&](Index i) {
            for (std::size_t a = 0; a < i.size(); ++a) {
              i[a] -= padding[a].first;
              if (i[a] < 0 || i[a] >= x.shape[a]) return value;
            }
            return x.at(i);
          });
        }));
  };
  add("constant 1.5", {2, 3}, {{1, 2}, {0, 1}}, 1.5);
  add("images", {2, 3, 3, 4}, {{0, 0}, {0, 0}, {1, 1}, {2, 2}}, 0);
  add("crops", {5, 4}, {{-1, -2}, {0, -1}}, 0);
  add("crops and grows", {5, 4}, {{-1, 2}, {3, -1}}, -1);
  add("nothing", {2, 0}, {{1, 1}, {2, 0}}, 7);
  add("zero-dimensional", {}, {}, 7);
  add("down to nothing", {3}, {{-1, -2}}, 7);

  const auto edges = [&](PadMode mode, std::string what, Sizes in, Padding padding) {
    rows.push_back(unary_row(
        "pad", std::move(what), {std::move(in)}, [=](const Tensor& x) { return pad(x, padding, mode); },
        [=](const Plain& x) {
          Sizes out = x.shape;
          for (std::size_t a = 0; a < out.size(); ++a) out[a] += padding[a].first + padding[a].second;
          return generate(out, [&](Index i) {
            for (std::size_t a = 0; a < i.size(); ++a) {
              const std::int64_t size = x.shape[a];
              i[a] -= padding[a].first;
              if (mode == PadMode::replicate) i[a] = std::clamp<std::int64_t>(i[a], 0, size - 1);
              if (mode == PadMode::circular) i[a] = (i[a] + size) % size;
              if (mode != PadMode::reflect) continue;
              i[a] = std::abs(i[a]);
              if (i[a] >= size) i[a] = 2 * (size - 1) - i[a];
            }
            return x.at(i);
          });
        }));
  };
  for (const auto& [mode, name] : {std::pair(PadMode::reflect, "reflect"), std::pair(PadMode::replicate, "replicate"),
                                   std::pair(PadMode::circular, "circular")}) {
    const std::string what = name;
    edges(mode, what, {2, 4}, {{1, 1}, {3, 2}});
    edges(mode, what + " images", {2, 3, 5, 4}, {{0, 0}, {0, 0}, {4, 4}, {2, 0}});
    edges(mode, what + " by nothing", {1, 3}, {{0, 0}, {0, 0}});
  }
  edges(PadMode::replicate, "replicate beyond the size", {1, 3}, {{2, 0}, {4, 5}});
  edges(PadMode::circular, "circular by the size", {1, 3}, {{1, 1}, {3, 3}});
}

void add_dilations(std::vector<OpCase>& rows) {
  const auto add = [&](std::string what, Sizes in, std::vector<int> axes, std::int64_t amount) {
    Dims list;
    for (int a : axes) list.push_back(a);
    const std::int64_t step = amount + 1;
    rows.push_back(unary_row(
        "dilate", what, {in}, [=](const Tensor& x) { return dilate(x, list, amount); },
        [=](const Plain& x) {
          Sizes out = x.shape;
          for (int a : axes) {
            std::int64_t& size = out[static_cast<std::size_t>(a)];
            if (size > 0) size += (size - 1) * amount;
          }
          return generate(out, [&](Index i) {
            for (int a : axes) {
              std::int64_t& at = i[static_cast<std::size_t>(a)];
              if (at % step != 0) return 0.0;
              at /= step;
            }
            return x.at(i);
          });
        }));
    rows.push_back(unary_row(
        "undilate", what, {in}, [=](const Tensor& x) { return undilate(x, list, amount); },
        [=](const Plain& x) {
          Sizes out = x.shape;
          for (int a : axes) {
            std::int64_t& size = out[static_cast<std::size_t>(a)];
            size = (size + amount) / step;
          }
          return generate(out, [&](Index i) {
            for (int a : axes) i[static_cast<std::size_t>(a)] *= step;
            return x.at(i);
          });
        }));
  };
  add("1 zero", {3, 3}, {0, 1}, 1);
  add("2 zeros", {2, 3, 4, 5}, {2, 3}, 2);
  add("no zeros", {2, 3}, {1}, 0);
  add("of one element", {1, 4}, {0}, 3);
  add("of nothing", {0, 2}, {0}, 2);
  add("no axes", {3, 2}, {}, 2);
}

void add_joins(std::vector<OpCase>& rows) {
  const auto join = [](const std::vector<Plain>& xs, std::size_t axis) {
    Sizes out = xs[0].shape;
    out[axis] = 0;
    for (const Plain& x : xs) out[axis] += x.shape[axis];
    return generate(out, [&](Index i) {
      std::size_t which = 0;
      while (i[axis] >= xs[which].shape[axis]) i[axis] -= xs[which++].shape[axis];
      return xs[which].at(i);
    });
  };
  const auto concatenated = [&](std::vector<Input> inputs, int axis) {
    OpCase row{.op = "concatenate", .what = "axis " + std::to_string(axis), .inputs = std::move(inputs)};
    row.run = [axis](const std::vector<Tensor>& x) { return concatenate(x, axis); };
    row.reference = [axis, join](const std::vector<Plain>& x) {
      return join(x, static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(x[0].shape.size()) : axis));
    };
    row.exact = true;
    rows.push_back(row);
  };
  concatenated({{{2, 3}}, {{1, 3}}, {{0, 3}}, {{4, 3}}}, 0);
  concatenated({{{2, 3, 2, 2}}, {{2, 1, 2, 2}}}, 1);
  concatenated({{{2, 3}}, {{2, 5}}}, -1);
  concatenated({{{3}}}, 0);
  concatenated({{{2, 3}, Values::whole, DType::i64}, {{2, 3}}}, 0);

  const auto stacked = [&](Sizes in, int axis, std::size_t at) {
    OpCase row{.op = "stack", .what = "axis " + std::to_string(axis), .inputs = {{in}, {in}, {in}}};
    row.run = [axis](const std::vector<Tensor>& x) { return stack(x, axis); };
    row.reference = [at, join](const std::vector<Plain>& x) {
      std::vector<Plain> wide;
      for (const Plain& p : x) {
        Sizes shape = p.shape;
        shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(at), 1);
        wide.push_back(reshaped(p, shape));
      }
      return join(wide, at);
    };
    row.exact = true;
    rows.push_back(row);
  };
  stacked({2, 3}, 0, 0);
  stacked({2, 3}, -1, 2);
  stacked({}, 0, 0);
  stacked({0}, 1, 1);
}

void add_casts(std::vector<OpCase>& rows) {
  constexpr DType kAll[] = {DType::u8, DType::i32, DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64};
  for (DType from : kAll) {
    for (DType to_dtype : kAll) {
      OpCase row = unary_row(
          "to", std::string(name(to_dtype)), {{2, 3, 7}, Values::natural, from, 200},
          [to_dtype](const Tensor& x) { return to(x, to_dtype); }, same);
      row.dtype = to_dtype;
      row.derivatives = 0;
      rows.push_back(row);
    }
    OpCase row = unary_row(
        "to", "bool", {{2, 3, 7}, Values::natural, from, 3}, [](const Tensor& x) { return to(x, DType::boolean); },
        [](const Plain& x) { return map(x, [](double v) { return v != 0 ? 1.0 : 0.0; }); });
    row.dtype = DType::boolean;
    row.derivatives = 0;
    rows.push_back(row);
  }
  OpCase truncated = unary_row(
      "to", "towards zero", {{5, 9}, Values::fractional}, [](const Tensor& x) { return to(x, DType::i32); },
      [](const Plain& x) { return map(x, [](double v) { return static_cast<double>(static_cast<int>(v)); }); });
  truncated.dtype = DType::i32;
  truncated.derivatives = 0;
  rows.push_back(truncated);
  OpCase widened = unary_row(
      "to", "its own dtype", {{2, 3}}, [](const Tensor& x) { return to(x, x.dtype()); }, same);
  rows.push_back(widened);
}

}  // namespace

std::vector<OpCase> copy_cases() {
  std::vector<OpCase> rows;
  for (const Sizes& shape : {Sizes{2, 3, 7}, Sizes{}, Sizes{0, 2}, Sizes{1, 1}}) {
    rows.push_back(unary_row(
        "contiguous", "", {shape}, [](const Tensor& x) { return contiguous(x); }, same));
    rows.push_back(unary_row(
        "clone", "", {shape}, [](const Tensor& x) { return clone(x); }, same));
  }
  add_casts(rows);
  add_joins(rows);
  add_pads(rows);
  add_dilations(rows);
  for (const Sizes& shape : {Sizes{2, 3}, Sizes{}, Sizes{0}}) {
    OpCase row = unary_row(
        "one_hot", "indices outside give zeros", {shape, Values::whole, DType::i64},
        [](const Tensor& x) { return one_hot(x, 4); },
        [](const Plain& x) {
          Sizes out = x.shape;
          out.push_back(4);
          return generate(out, [&](Index i) {
            const auto column = static_cast<double>(i.back());
            i.pop_back();
            return x.at(i) == column ? 1.0 : 0.0;
          });
        });
    row.dtype = DType::f32;
    row.derivatives = 0;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace weft::cases
