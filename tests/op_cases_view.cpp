#include "tests/op_cases.h"

namespace weft::cases {

namespace {

using Read = std::function<Index(const Index&)>;  // from a position of the result to one of the input

/// A view: the result of shape `out` at i is the input at read(i).
OpCase viewed(const char* op, std::string what, Sizes in, std::function<Tensor(const Tensor&)> run, Sizes out,
              Read read) {
  OpCase row;
  row.op = op;
  row.what = std::move(what);
  row.inputs = {{std::move(in)}};
  row.run = [run = std::move(run)](const std::vector<Tensor>& x) { return run(x[0]); };
  row.reference = [out = std::move(out), read = std::move(read)](const std::vector<Plain>& x) {
    return generate(out, [&](const Index& i) { return x[0].at(read(i)); });
  };
  row.exact = true;
  return row;
}

OpCase relabelled(const char* op, std::string what, Sizes in, std::function<Tensor(const Tensor&)> run, Sizes out) {
  OpCase row = viewed(op, std::move(what), std::move(in), std::move(run), {}, {});
  row.reference = [out = std::move(out)](const std::vector<Plain>& x) { return reshaped(x[0], out); };
  return row;
}

void add_reshapes(std::vector<OpCase>& rows) {
  const auto reshape_to = [](const Shape& shape) { return [shape](const Tensor& x) { return reshape(x, shape); }; };
  rows.push_back(relabelled("reshape", "", {2, 3, 4}, reshape_to({4, 6}), {4, 6}));
  rows.push_back(relabelled("reshape", "-1", {2, 3, 4}, reshape_to({3, -1, 2}), {3, 4, 2}));
  rows.push_back(relabelled("reshape", "one element", {1, 1}, reshape_to({}), {}));
  rows.push_back(relabelled("reshape", "of a scalar", {}, reshape_to({1, 1, 1}), {1, 1, 1}));
  rows.push_back(relabelled("reshape", "nothing", {0, 3}, reshape_to({3, 5, 0}), {3, 5, 0}));
  rows.push_back(relabelled("reshape", "ones added", {3, 4}, reshape_to({1, 3, 1, 4, 1}), {1, 3, 1, 4, 1}));
  rows.push_back(relabelled("flatten", "", {2, 3, 4}, [](const Tensor& x) { return flatten(x); }, {24}));
  rows.push_back(
      relabelled("flatten", "1 to -2", {2, 3, 4, 5}, [](const Tensor& x) { return flatten(x, 1, -2); }, {2, 12, 5}));
  rows.push_back(relabelled("flatten", "", {}, [](const Tensor& x) { return flatten(x); }, {1}));
  rows.push_back(relabelled("squeeze", "", {1, 3, 1, 2}, [](const Tensor& x) { return squeeze(x); }, {3, 2}));
  rows.push_back(relabelled("squeeze", "-2", {1, 3, 1, 2}, [](const Tensor& x) { return squeeze(x, -2); }, {1, 3, 2}));
  rows.push_back(relabelled("unsqueeze", "-1", {2, 3}, [](const Tensor& x) { return unsqueeze(x, -1); }, {2, 3, 1}));
  rows.push_back(relabelled("unsqueeze", "0", {}, [](const Tensor& x) { return unsqueeze(x, 0); }, {1}));
}

void add_slices(std::vector<OpCase>& rows) {
  const auto add = [&](std::string what, Sizes in, int axis, std::optional<std::int64_t> start,
                       std::optional<std::int64_t> stop, std::int64_t step, std::int64_t first, std::int64_t size) {
    Sizes out = in;
    const auto at = static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(in.size()) : axis);
    out[at] = size;
    rows.push_back(viewed(
        "slice", std::move(what), std::move(in), [=](const Tensor& x) { return slice(x, axis, start, stop, step); },
        out,
        [=](Index i) {
          i[at] = first + i[at] * step;
          return i;
        }));
  };
  add("1:3", {4, 5}, 0, 1, 3, 1, 1, 2);
  add("::2", {3, 7}, 1, std::nullopt, std::nullopt, 2, 0, 4);
  add("::-1", {3, 7}, -1, std::nullopt, std::nullopt, -1, 6, 7);
  add("5:0:-2", {2, 7}, 1, 5, 0, -2, 5, 3);
  add("-3:-1", {2, 7}, 1, -3, -1, 1, 4, 2);
  add("clipped", {2, 7}, 1, -100, 100, 3, 0, 3);
  add("empty", {2, 7}, 1, 5, 2, 1, 5, 0);
  add("of nothing", {0, 3}, 0, std::nullopt, std::nullopt, -1, 0, 0);
}

void add_as_strided(std::vector<OpCase>& rows) {
  const auto add = [&](std::string what, Sizes in, Shape out, Strides strides, std::int64_t offset) {
    OpCase row = viewed("as_strided", std::move(what), std::move(in),
                        [=](const Tensor& x) { return as_strided(x, out, strides, offset); }, {}, {});
    row.reference = [=](const std::vector<Plain>& x) {
      return generate(Sizes(out.begin(), out.end()), [&](const Index& i) {
        std::int64_t at = offset;
        for (std::size_t a = 0; a < i.size(); ++a) at += i[a] * strides[static_cast<int>(a)];
        return x[0].values.at(static_cast<std::size_t>(at));
      });
    };
    row.any_layout = false;
    rows.push_back(row);
  };
  add("windows that overlap", {9}, {4, 3}, {2, 1}, 0);
  add("a diagonal", {4, 4}, {4}, {5}, 0);
  add("reversed, repeated", {4, 4}, {2, 3, 4}, {0, -5, -1}, 15);
  add("nothing", {3}, {0, 2}, {1, 1}, 0);
}

}  // namespace

std::vector<OpCase> view_cases() {
  std::vector<OpCase> rows;
  add_reshapes(rows);
  rows.push_back(viewed(
      "permute", "", {2, 3, 4, 5},
      [](const Tensor& x) {
        return permute(x, {2, -1, 0, 1});
      },
      {4, 5, 2, 3},
      [](const Index& i) {
        return Index{i[2], i[3], i[0], i[1]};
      }));
  rows.push_back(viewed(
      "permute", "", {0, 1, 2},
      [](const Tensor& x) {
        return permute(x, {1, 2, 0});
      },
      {1, 2, 0},
      [](const Index& i) {
        return Index{i[2], i[0], i[1]};
      }));
  rows.push_back(viewed(
      "permute", "", {}, [](const Tensor& x) { return permute(x, {}); }, {}, [](const Index& i) { return i; }));
  rows.push_back(viewed(
      "transpose", "", {2, 3, 4}, [](const Tensor& x) { return transpose(x, 0, -1); }, {4, 3, 2},
      [](const Index& i) {
        return Index{i[2], i[1], i[0]};
      }));
  rows.push_back(viewed(
      "transpose", "", {3, 1}, [](const Tensor& x) { return transpose(x, 1, 0); }, {1, 3},
      [](const Index& i) {
        return Index{i[1], i[0]};
      }));
  add_slices(rows);
  rows.push_back(viewed(
      "select", "", {3, 4, 2}, [](const Tensor& x) { return select(x, 1, -1); }, {3, 2},
      [](const Index& i) {
        return Index{i[0], 3, i[1]};
      }));
  rows.push_back(viewed(
      "select", "", {5}, [](const Tensor& x) { return select(x, 0, 2); }, {}, [](const Index&) { return Index{2}; }));
  rows.push_back(viewed(
      "expand", "", {3, 1},
      [](const Tensor& x) {
        return expand(x, {2, -1, 4});
      },
      {2, 3, 4},
      [](const Index& i) {
        return Index{i[1], 0};
      }));
  rows.push_back(viewed(
      "expand", "", {},
      [](const Tensor& x) {
        return expand(x, {2, 3});
      },
      {2, 3}, [](const Index&) { return Index{}; }));
  rows.push_back(viewed(
      "expand", "to nothing", {2, 1},
      [](const Tensor& x) {
        return expand(x, {2, 0});
      },
      {2, 0}, [](const Index& i) { return i; }));
  rows.push_back(viewed(
      "flip", "", {3, 4, 2},
      [](const Tensor& x) {
        return flip(x, {0, -1});
      },
      {3, 4, 2},
      [](const Index& i) {
        return Index{2 - i[0], i[1], 1 - i[2]};
      }));
  rows.push_back(viewed(
      "flip", "", {0, 1}, [](const Tensor& x) { return flip(x, Axes::all()); }, {0, 1},
      [](const Index& i) { return i; }));
  add_as_strided(rows);
  return rows;
}

}  // namespace weft::cases
