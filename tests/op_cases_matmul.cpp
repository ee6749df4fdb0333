#include "tests/op_cases.h"

namespace weft::cases {

namespace {

// NumPy's rule: 1-D operands become a row or a column, leading axes broadcast, the added axis is dropped again.
Plain product(const Plain& left, const Plain& right) {
  const bool row = left.shape.size() == 1;
  const bool column = right.shape.size() == 1;
  const Plain a = row ? reshaped(left, {1, left.shape[0]}) : left;
  const Plain b = column ? reshaped(right, {right.shape[0], 1}) : right;
  Sizes out = broadcast_shape(Sizes(a.shape.begin(), a.shape.end() - 2), Sizes(b.shape.begin(), b.shape.end() - 2));
  out.push_back(a.shape[a.shape.size() - 2]);
  out.push_back(b.shape.back());
  const std::int64_t depth = a.shape.back();
  const Plain wide = generate(out, [&](const Index& i) {
    double total = 0;
    Index at_a = i;
    Index at_b = i;
    for (std::int64_t k = 0; k < depth; ++k) {
      at_a[i.size() - 1] = k;
      at_b[i.size() - 2] = k;
      total += a.broadcast_at(at_a) * b.broadcast_at(at_b);
    }
    return total;
  });
  if (row) out.erase(out.end() - 2);
  if (column) out.pop_back();
  return reshaped(wide, out);
}

OpCase matmul_row(std::string what, Input a, Input b) {
  OpCase row{.op = "matmul", .what = std::move(what), .inputs = {std::move(a), std::move(b)}};
  row.run = [](const std::vector<Tensor>& x) { return matmul(x[0], x[1]); };
  row.reference = [](const std::vector<Plain>& x) { return product(x[0], x[1]); };
  return row;
}

}  // namespace

std::vector<OpCase> matmul_cases() {
  std::vector<OpCase> rows;
  rows.push_back(matmul_row("", {{3, 5}}, {{5, 4}}));
  rows.push_back(matmul_row("remainders of the tiles", {{13, 19}}, {{19, 17}}));
  rows.push_back(matmul_row("1-D left", {{5}}, {{5, 4}}));
  rows.push_back(matmul_row("1-D right", {{3, 5}}, {{5}}));
  rows.push_back(matmul_row("1-D both", {{7}}, {{7}}));
  rows.push_back(matmul_row("1-D left, batches", {{3}}, {{2, 3, 4}}));
  rows.push_back(matmul_row("1-D right, batches", {{2, 4, 3}}, {{3}}));
  rows.push_back(matmul_row("batches", {{2, 3, 4}}, {{2, 4, 5}}));
  rows.push_back(matmul_row("one matrix on the right", {{2, 3, 2, 4}}, {{4, 3}}));
  rows.push_back(matmul_row("one matrix on the left", {{2, 4}}, {{3, 4, 2}}));
  rows.push_back(matmul_row("batches broadcast", {{3, 1, 2, 4}}, {{2, 4, 3}}));
  rows.push_back(matmul_row("one by one", {{1, 1}}, {{1, 1}}));
  rows.push_back(matmul_row("outer", {{4, 1}}, {{1, 5}}));
  rows.push_back(matmul_row("no rows", {{0, 3}}, {{3, 2}}));
  rows.push_back(matmul_row("no columns", {{2, 3}}, {{3, 0}}));
  rows.push_back(matmul_row("no depth: zeros", {{2, 0}}, {{0, 3}}));
  rows.push_back(matmul_row("no batches", {{0, 2, 3}}, {{0, 3, 2}}));
  for (DType dtype : {DType::u8, DType::i32, DType::i64}) {
    OpCase row = matmul_row("", {{7, 9}, Values::natural, dtype, 5}, {{9, 6}, Values::natural, dtype, 5});
    row.dtype = dtype;
    row.derivatives = 0;
    row.exact = true;
    rows.push_back(row);
  }

  const auto linear_row = [&](std::string what, Sizes x, Sizes weight, bool bias) {
    OpCase row{.op = "linear", .what = std::move(what), .inputs = {{std::move(x)}, {weight}}};
    if (bias) row.inputs.push_back({{weight[0]}});
    row.run = [bias](const std::vector<Tensor>& t) { return linear(t[0], t[1], bias ? t[2] : Tensor()); };
    row.reference = [bias](const std::vector<Plain>& t) {
      const Plain transposed = generate({t[1].shape[1], t[1].shape[0]}, [&](const Index& i) {
        return t[1].at({i[1], i[0]});
      });
      const Plain y = product(t[0], transposed);
      return bias ? zip(y, t[2], [](double a, double b) { return a + b; }) : y;
    };
    rows.push_back(row);
  };
  linear_row("bias", {5, 7}, {3, 7}, true);
  linear_row("no bias", {5, 7}, {3, 7}, false);
  linear_row("one row", {7}, {3, 7}, true);
  linear_row("batches", {2, 3, 4}, {5, 4}, true);
  linear_row("remainders of the tiles", {37, 19}, {21, 19}, true);
  linear_row("one row, no bias", {7}, {3, 7}, false);
  linear_row("one row of a matrix", {1, 5}, {4, 5}, true);
  linear_row("as many rows as features and outputs", {6, 6}, {6, 6}, true);
  linear_row("no rows", {0, 4}, {5, 4}, true);
  linear_row("no rows in batches", {2, 0, 4}, {5, 4}, true);
  linear_row("no features: the bias", {3, 0}, {4, 0}, true);
  linear_row("no features: zeros", {3, 0}, {4, 0}, false);
  linear_row("no outputs", {3, 4}, {0, 4}, true);
  linear_row("one feature", {3, 1}, {1, 1}, true);
  return rows;
}

}  // namespace weft::cases
