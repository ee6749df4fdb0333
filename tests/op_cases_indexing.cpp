#include <algorithm>
#include <cmath>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

Input indices(Sizes shape, std::int64_t limit, DType dtype = DType::i64) {
  return {std::move(shape), Values::natural, dtype, limit};
}

std::int64_t whole(double value) { return static_cast<std::int64_t>(value); }

std::string along_axis(int axis) { return "axis " + std::to_string(axis); }

std::size_t from_start(int axis, const Sizes& shape) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(shape.size()) : axis);
}

void add_index_selects(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes in, int axis, Sizes list, DType dtype = DType::i64) {
    const std::size_t at = in.empty() ? 0 : from_start(axis, in);
    const std::int64_t size = in.empty() ? 1 : in[at];
    OpCase row{.op = "index_select", .what = along_axis(axis), .inputs = {{in}, indices(list, size, dtype)}};
    row.run = [axis](const std::vector<Tensor>& x) { return index_select(x[0], axis, x[1]); };
    row.reference = [at](const std::vector<Plain>& x) {
      Sizes out = x[0].shape;
      if (!out.empty()) out[at] = count(x[1].shape);
      return generate(out, [&](Index i) {
        if (!i.empty()) i[at] = whole(x[1].values[static_cast<std::size_t>(i[at])]);
        return x[0].at(i);
      });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add({5, 3}, 0, {7});
  add({5, 3}, -1, {2}, DType::i32);
  add({2, 4, 3}, 1, {40});
  add({6}, 0, {6});
  add({1, 3}, 0, {4});
  add({3, 2}, 1, {0});
  add({0, 4}, 1, {3});
  add({3, 5}, 0, {});
  add({}, 0, {});
}

void add_gathers(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes in, int axis, Sizes by, DType dtype = DType::i64) {
    const std::size_t at = in.empty() ? 0 : from_start(axis, in);
    const std::int64_t size = in.empty() ? 1 : in[at];
    OpCase row{.op = "gather", .what = along_axis(axis), .inputs = {{in}, indices(by, size, dtype)}};
    row.run = [axis](const std::vector<Tensor>& x) { return gather(x[0], axis, x[1]); };
    row.reference = [at](const std::vector<Plain>& x) {
      return generate(x[1].shape, [&](Index i) {
        const std::int64_t place = whole(x[1].at(i));
        if (!i.empty()) i[at] = place;
        return x[0].at(i);
      });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add({4, 5}, 0, {6, 3});
  add({4, 5}, 1, {4, 5}, DType::i32);
  add({3, 4, 5}, -2, {2, 7, 5});
  add({2, 3}, 1, {2, 33});
  add({7}, 0, {7});
  add({2, 3}, 0, {0, 3});
  add({0, 3}, 1, {0, 2});
  add({1, 1}, 1, {1, 4});
  add({}, 0, {});
}

// The places of x that a write of index reaches, in row-major order of index.
Plain written(const Plain& x, const Plain& index, std::size_t at,
              const std::function<void(double& place, const Index& from)>& write) {
  Plain out = x;
  for_each_index(index.shape, [&](const Index& i) {
    Index to = i;
    if (!to.empty()) to[at] = whole(index.at(i));
    write(out.at(to), i);
  });
  return out;
}

void add_scatters(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes in, int axis, Sizes by, Sizes from, DType dtype = DType::i64) {
    const std::size_t at = in.empty() ? 0 : from_start(axis, in);
    const std::int64_t size = in.empty() ? 1 : in[at];
    OpCase row{.op = "scatter", .what = along_axis(axis), .inputs = {{in}, indices(by, size, dtype), {from}}};
    row.run = [axis](const std::vector<Tensor>& x) { return scatter(x[0], axis, x[1], x[2]); };
    row.reference = [at](const std::vector<Plain>& x) {
      return written(x[0], x[1], at, [&](double& place, const Index& i) { place = x[2].at(i); });
    };
    row.exact = true;
    rows.push_back(row);
    row.op = "scatter_add";
    row.exact = false;
    row.run = [axis](const std::vector<Tensor>& x) { return scatter_add(x[0], axis, x[1], x[2]); };
    row.reference = [at](const std::vector<Plain>& x) {
      return written(x[0], x[1], at, [&](double& place, const Index& i) { place += x[2].at(i); });
    };
    rows.push_back(row);
    row.op = "scatter";
    row.what += ", a number";
    row.exact = true;
    row.inputs.pop_back();
    row.run = [axis](const std::vector<Tensor>& x) { return scatter(x[0], axis, x[1], 1.5); };
    row.reference = [at](const std::vector<Plain>& x) {
      return written(x[0], x[1], at, [&](double& place, const Index&) { place = 1.5; });
    };
    rows.push_back(row);
  };
  add({4, 5}, 0, {3, 2}, {3, 2});
  add({4, 5}, 1, {4, 7}, {4, 8}, DType::i32);
  add({3, 4, 5}, -2, {3, 6, 2}, {3, 6, 5});
  add({2, 3}, 1, {2, 40}, {2, 40});
  add({1}, 0, {3}, {3});
  add({2, 3}, 0, {0, 3}, {2, 3});
  add({0, 3}, 1, {0, 2}, {0, 2});
  add({}, 0, {}, {});
  for (const DType dtype : {DType::u8, DType::i32, DType::i64}) {
    OpCase row{
        .op = "scatter_add",
        .what = std::string(name(dtype)),
        .inputs = {{{3, 2}, Values::natural, dtype, 9}, indices({5, 2}, 3), {{5, 2}, Values::natural, dtype, 9}}};
    row.run = [](const std::vector<Tensor>& x) { return scatter_add(x[0], 0, x[1], x[2]); };
    row.reference = [](const std::vector<Plain>& x) {
      return written(x[0], x[1], 0, [&](double& place, const Index& i) { place += x[2].at(i); });
    };
    row.dtype = dtype;
    row.derivatives = 0;
    row.exact = true;
    rows.push_back(row);
  }
}

void add_masked_fills(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes in, Sizes mask) {
    OpCase row{.op = "masked_fill", .inputs = {{in}, {mask, Values::natural, DType::boolean, 2}}};
    row.run = [](const std::vector<Tensor>& x) { return masked_fill(x[0], x[1], -1.5); };
    row.reference = [](const std::vector<Plain>& x) {
      return generate(broadcast_shape(x[0].shape, x[1].shape),
                      [&](const Index& i) { return x[1].broadcast_at(i) != 0 ? -1.5 : x[0].broadcast_at(i); });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add({4, 5}, {4, 5});
  add({2, 3, 4}, {3, 1});
  add({4}, {3, 1});
  add({0, 2}, {2});
  add({}, {});
}

void add_embeddings(std::vector<OpCase>& rows) {
  const auto add = [&](Sizes list, Sizes weight, DType dtype = DType::i64) {
    OpCase row{.op = "embedding", .inputs = {indices(list, weight[0], dtype), {weight}}};
    row.run = [](const std::vector<Tensor>& x) { return embedding(x[0], x[1]); };
    row.reference = [](const std::vector<Plain>& x) {
      Sizes out = x[0].shape;
      out.push_back(x[1].shape[1]);
      return generate(out, [&](Index i) {
        const std::int64_t column = i.back();
        i.pop_back();
        return x[1].at({whole(x[0].at(i)), column});
      });
    };
    row.exact = true;
    rows.push_back(row);
  };
  add({2, 3}, {5, 4});
  add({19}, {3, 7}, DType::i32);
  add({}, {2, 3});
  add({0, 2}, {2, 3});
  add({3}, {1, 0});
  add({2, 2, 2}, {4, 1});
}

void add_cumsums(std::vector<OpCase>& rows) {
  const auto add = [&](Input in, int axis) {
    OpCase row{.op = "cumsum", .what = along_axis(axis), .inputs = {in}};
    row.run = [axis](const std::vector<Tensor>& x) { return cumsum(x[0], axis); };
    row.reference = [axis](const std::vector<Plain>& x) {
      if (x[0].shape.empty()) return x[0];
      return along(x[0], static_cast<int>(from_start(axis, x[0].shape)), [](std::vector<double>& line) {
        for (std::size_t i = 1; i < line.size(); ++i) line[i] += line[i - 1];
      });
    };
    if (in.dtype) {
      row.dtype = DType::i64;
      row.derivatives = 0;
    }
    rows.push_back(row);
  };
  add({{3, 5}}, 0);
  add({{3, 5}}, 1);
  add({{2, 3, 4}}, -2);
  add({{2, 50}}, -1);
  add({{40, 3}}, 0);
  add({{1}}, 0);
  add({{}}, -1);
  add({{0, 2}}, 0);
  add({{2, 0}}, 0);
  for (const DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64})
    add({{2, 3, 37}, Values::natural, dtype, dtype == DType::boolean ? 2 : 100}, 2);
}

// The places of a line's elements in order; NaN is the largest, and equals keep their order.
std::vector<std::size_t> order_of(const std::vector<double>& line, bool descending) {
  std::vector<std::size_t> order(line.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const double x = descending ? line[b] : line[a], y = descending ? line[a] : line[b];
    return x < y || (std::isnan(y) && !std::isnan(x));
  });
  return order;
}

// The first k elements of each line in order, or their places.
Plain in_order(const Plain& x, int axis, bool descending, std::optional<std::int64_t> k, bool places) {
  if (x.shape.empty()) return places ? Plain{{}, {0}} : x;
  const std::size_t at = from_start(axis, x.shape);
  const Plain whole_lines = along(x, static_cast<int>(at), [&](std::vector<double>& line) {
    const std::vector<double> before = line;
    const std::vector<std::size_t> order = order_of(line, descending);
    for (std::size_t i = 0; i < line.size(); ++i) line[i] = places ? static_cast<double>(order[i]) : before[order[i]];
  });
  Sizes shape = x.shape;
  shape[at] = k.value_or(shape[at]);
  return generate(shape, [&](const Index& i) { return whole_lines.at(i); });
}

void add_sorts(std::vector<OpCase>& rows) {
  const auto add = [&](Input in, int axis, bool descending, std::optional<std::int64_t> k) {
    OpCase row{.op = k ? "topk" : "sort",
               .what = along_axis(axis) + (descending ? ", descending" : "") + (k ? ", " + std::to_string(*k) : ""),
               .inputs = {in},
               .dtype = in.dtype,
               .derivatives = in.dtype || in.values != Values::distinct ? 0 : 2,
               .exact = true};
    row.run = [=](const std::vector<Tensor>& x) {
      return k ? topk(x[0], *k, axis, descending).values : sort(x[0], axis, descending).values;
    };
    row.reference = [=](const std::vector<Plain>& x) { return in_order(x[0], axis, descending, k, false); };
    rows.push_back(row);
    row.what += ", indices";
    row.dtype = DType::i64;
    row.derivatives = 0;
    row.run = [=](const std::vector<Tensor>& x) {
      return k ? topk(x[0], *k, axis, descending).indices : sort(x[0], axis, descending).indices;
    };
    row.reference = [=](const std::vector<Plain>& x) { return in_order(x[0], axis, descending, k, true); };
    rows.push_back(row);
    if (k) return;
    row.op = "argsort";
    row.what = along_axis(axis) + (descending ? ", descending" : "");
    row.run = [=](const std::vector<Tensor>& x) { return argsort(x[0], axis, descending); };
    rows.push_back(row);
  };
  for (const bool descending : {false, true}) {
    add({{5, 4}, Values::distinct}, 0, descending, {});
    add({{2, 3, 7}, Values::distinct}, -1, descending, {});
    add({{3, 7, 2}, Values::special}, 1, descending, {});
    add({{300}, Values::special}, 0, descending, {});
    add({{2, 777}, Values::natural, DType::i64, 20}, 1, descending, {});
    add({{5, 9}, Values::whole, DType::i32}, 0, descending, {});
    add({{5, 9}, Values::natural, DType::u8, 256}, 0, descending, {});
    add({{5, 9}, Values::natural, DType::boolean, 2}, 1, descending, {});
    add({{}, Values::distinct}, -1, descending, {});
    add({{1, 3}, Values::distinct}, 0, descending, {});
    add({{0, 3}, Values::distinct}, 0, descending, {});
    add({{3, 0}, Values::distinct}, 0, descending, {});
    add({{5, 4}, Values::distinct}, 0, descending, 2);
    add({{2, 3, 7}, Values::distinct}, -1, descending, 7);
    add({{40, 2}, Values::distinct}, 0, descending, 3);
    add({{4, 3}, Values::special}, 1, descending, 1);
    add({{4, 3}, Values::distinct}, 1, descending, 0);
    add({{}, Values::distinct}, 0, descending, 1);
    add({{0}, Values::distinct}, 0, descending, 0);
  }
}

}  // namespace

std::vector<OpCase> indexing_cases() {
  std::vector<OpCase> rows;
  add_index_selects(rows);
  add_gathers(rows);
  add_scatters(rows);
  add_masked_fills(rows);
  add_embeddings(rows);
  add_cumsums(rows);
  add_sorts(rows);
  return rows;
}

}  // namespace weft::cases
