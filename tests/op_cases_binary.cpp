#include <cmath>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

using Function = Tensor (*)(const Tensor&, const Tensor&);

struct Binary {
  const char* name;
  Function run;
  double (*reference)(double, double);
  Values left = Values::any;
  Values right = Values::any;
};

double modulo(double a, double b) { return a - b * std::floor(a / b); }

const Binary kDifferentiable[] = {
    {"add", add, [](double a, double b) { return a + b; }},
    {"subtract", subtract, [](double a, double b) { return a - b; }},
    {"multiply", multiply, [](double a, double b) { return a * b; }},
    {"divide", divide, [](double a, double b) { return a / b; }, Values::any, Values::nonzero},
    {"floor_divide", floor_divide, [](double a, double b) { return std::floor(a / b); }, Values::any, Values::nonzero},
    {"remainder", remainder, modulo, Values::any, Values::nonzero},
    {"power", power, [](double a, double b) { return std::pow(a, b); }, Values::positive, Values::any},
    {"maximum", maximum, [](double a, double b) { return std::fmax(a, b); }},
    {"minimum", minimum, [](double a, double b) { return std::fmin(a, b); }},
    {"weighted", weighted, [](double a, double b) { return a * b; }},
    {"atan2", atan2, [](double a, double b) { return std::atan2(a, b); }, Values::nonzero, Values::nonzero},
};

// The integers' own rules: anything divided by 0 is 0.
const Binary kWhole[] = {
    {"add", add, [](double a, double b) { return a + b; }},
    {"subtract", subtract, [](double a, double b) { return a - b; }},
    {"multiply", multiply, [](double a, double b) { return a * b; }},
    {"floor_divide", floor_divide, [](double a, double b) { return b == 0 ? 0 : std::floor(a / b); }},
    {"remainder", remainder, [](double a, double b) { return b == 0 ? 0 : modulo(a, b); }},
    {"power", power, [](double a, double b) { return a == 0 && b < 0 ? 0 : std::trunc(std::pow(a, b)); }},
    {"maximum", maximum, [](double a, double b) { return std::fmax(a, b); }},
    {"minimum", minimum, [](double a, double b) { return std::fmin(a, b); }},
};

const Binary kPredicates[] = {
    {"equal", equal, [](double a, double b) { return a == b ? 1.0 : 0.0; }},
    {"not_equal", not_equal, [](double a, double b) { return a != b ? 1.0 : 0.0; }},
    {"less", less, [](double a, double b) { return a < b ? 1.0 : 0.0; }},
    {"less_equal", less_equal, [](double a, double b) { return a <= b ? 1.0 : 0.0; }},
    {"greater", greater, [](double a, double b) { return a > b ? 1.0 : 0.0; }},
    {"greater_equal", greater_equal, [](double a, double b) { return a >= b ? 1.0 : 0.0; }},
    {"logical_and", logical_and, [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; }},
    {"logical_or", logical_or, [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0.0; }},
    {"logical_xor", logical_xor, [](double a, double b) { return (a != 0) != (b != 0) ? 1.0 : 0.0; }},
};

struct Pair {
  Sizes left;
  Sizes right;
};

const std::vector<Pair>& broadcasts() {
  static const std::vector<Pair> pairs{
      {{2, 3, 7}, {2, 3, 7}},    {{3, 1}, {1, 7}}, {{}, {5}},        {{4, 1, 3}, {}}, {{7}, {2, 1, 7}},
      {{2, 5, 3, 3}, {5, 1, 1}}, {{0, 3}, {1, 3}}, {{1, 0}, {2, 1}}, {{1}, {1, 1}},   {{}, {}},
  };
  return pairs;
}

OpCase elementwise(const Binary& binary, Input left, Input right) {
  OpCase row;
  row.op = binary.name;
  row.inputs = {std::move(left), std::move(right)};
  row.run = [run = binary.run](const std::vector<Tensor>& x) { return run(x[0], x[1]); };
  row.reference = [reference = binary.reference](const std::vector<Plain>& x) { return zip(x[0], x[1], reference); };
  return row;
}

OpCase not_differentiable(OpCase row, DType dtype) {
  row.dtype = dtype;
  row.derivatives = 0;
  return row;
}

void add_mixed_dtypes(std::vector<OpCase>& rows) {
  struct Mixed {
    const Binary& binary;
    Input left;
    Input right;
    std::optional<DType> result;
  };
  const Mixed mixed[] = {
      {kWhole[0], {{3, 5}, Values::natural, DType::u8}, {{5}, Values::whole, DType::i32}, DType::i32},
      {kWhole[0], {{3, 5}, Values::whole, DType::i32}, {{3, 1}, Values::whole, DType::i64}, DType::i64},
      {kWhole[2], {{3, 5}, Values::natural, DType::boolean}, {{5}, Values::whole, DType::i64}, DType::i64},
      {kWhole[2], {{}, Values::whole, DType::i64}, {{5}, Values::whole, DType::i32}, DType::i32},  // 0-dimensional
      {kDifferentiable[3], {{3, 5}, Values::whole, DType::i64}, {{5}, Values::positive, DType::f32}, DType::f32},
      {kWhole[0], {{3, 5}, Values::natural, DType::boolean}, {{3, 5}, Values::natural, DType::u8}, DType::u8},
  };
  for (const Mixed& m : mixed) {
    OpCase row = elementwise(m.binary, m.left, m.right);
    row.dtype = m.result;
    row.derivatives = 0;
    rows.push_back(row);
  }
  OpCase scaled = elementwise(kDifferentiable[2], {{3, 5}}, {{5}, Values::whole, DType::i64});
  scaled.what = "an integer operand without gradient";
  rows.push_back(scaled);
  Binary divide_whole = kDifferentiable[3];
  OpCase quotient =
      elementwise(divide_whole, {{3, 5}, Values::whole, DType::i64}, {{3, 5}, Values::natural, DType::i64, 5});
  quotient.dtype = DType::f32;
  quotient.derivatives = 0;
  quotient.what = "integers divide truly, by zero too";
  rows.push_back(quotient);
}

void add_where(std::vector<OpCase>& rows) {
  const auto reference = [](const std::vector<Plain>& x) {
    return generate(broadcast_shape(x[0].shape, broadcast_shape(x[1].shape, x[2].shape)), [&](const Index& i) {
      return x[0].broadcast_at(i) != 0 ? x[1].broadcast_at(i) : x[2].broadcast_at(i);
    });
  };
  const auto run = [](const std::vector<Tensor>& x) { return where(x[0], x[1], x[2]); };
  const std::vector<std::vector<Sizes>> shapes{{{2, 3, 7}, {2, 3, 7}, {2, 3, 7}},
                                               {{3, 1}, {7}, {2, 1, 7}},
                                               {{2, 5}, {}, {5}},
                                               {{}, {2, 3}, {3}},
                                               {{0, 3}, {3}, {1, 1}},
                                               {{1}, {1}, {1}}};
  for (const auto& s : shapes) {
    OpCase row{.op = "where",
               .inputs = {{s[0], Values::natural, DType::boolean}, {s[1]}, {s[2]}},
               .run = run,
               .reference = reference};
    row.exact = true;
    rows.push_back(row);
  }
  for (DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64}) {
    OpCase row{.op = "where",
               .inputs = {{{4, 9}, Values::natural, DType::boolean},
                          {{4, 9}, Values::natural, dtype},
                          {{9}, Values::natural, dtype}},
               .run = run,
               .reference = reference};
    row.exact = true;
    rows.push_back(not_differentiable(row, dtype));
  }
}

}  // namespace

std::vector<OpCase> binary_cases() {
  std::vector<OpCase> rows;
  for (const Binary& binary : kDifferentiable) {
    for (const Pair& pair : broadcasts())
      rows.push_back(elementwise(binary, {pair.left, binary.left}, {pair.right, binary.right}));
  }
  for (const Binary& binary : kWhole) {
    for (DType dtype : {DType::i32, DType::i64}) {
      OpCase row = not_differentiable(
          elementwise(binary, {{6, 13}, Values::whole, dtype}, {{6, 13}, Values::whole, dtype}), dtype);
      row.exact = true;
      rows.push_back(row);
    }
  }
  for (const Binary& binary : kPredicates) {
    for (const Pair& pair : broadcasts()) {
      rows.push_back(not_differentiable(elementwise(binary, {pair.left, Values::whole}, {pair.right, Values::whole}),
                                        DType::boolean));
    }
    rows.push_back(not_differentiable(elementwise(binary, {{5, 29}, Values::special}, {{5, 29}, Values::special}),
                                      DType::boolean));
    for (DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64}) {
      rows.push_back(not_differentiable(
          elementwise(binary, {{3, 17}, Values::natural, dtype}, {{17}, Values::natural, dtype}), DType::boolean));
    }
  }
  add_mixed_dtypes(rows);
  add_where(rows);
  return rows;
}

}  // namespace weft::cases
