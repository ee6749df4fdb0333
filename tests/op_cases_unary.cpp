#include <cmath>
#include <string_view>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

struct Unary {
  const char* name;
  Tensor (*run)(const Tensor&);
  double (*reference)(double);
  Values values = Values::any;
  bool exact = false;
};

constexpr double kPi = 3.14159265358979323846;

const Unary kUnary[] = {
    {"negative", negative, [](double x) { return -x; }, Values::any, true},
    {"abs", abs, [](double x) { return std::fabs(x); }, Values::nonzero, true},
    {"sign", sign, [](double x) { return x > 0   ? 1.0
                                         : x < 0 ? -1.0
                                                 : 0.0; }, Values::nonzero, true},
    {"square", square, [](double x) { return x * x; }},
    {"reciprocal", reciprocal, [](double x) { return 1 / x; }, Values::nonzero},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, Values::positive},
    {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, Values::positive},
    {"exp", exp, [](double x) { return std::exp(x); }},
    {"expm1", expm1, [](double x) { return std::expm1(x); }},
    {"log", log, [](double x) { return std::log(x); }, Values::positive},
    {"log1p", log1p, [](double x) { return std::log1p(x); }, Values::unit},
    {"log2", log2, [](double x) { return std::log2(x); }, Values::positive},
    {"log10", log10, [](double x) { return std::log10(x); }, Values::positive},
    {"sin", sin, [](double x) { return std::sin(x); }},
    {"cos", cos, [](double x) { return std::cos(x); }},
    {"tan", tan, [](double x) { return std::tan(x); }, Values::unit},
    {"asin", asin, [](double x) { return std::asin(x); }, Values::unit},
    {"acos", acos, [](double x) { return std::acos(x); }, Values::unit},
    {"atan", atan, [](double x) { return std::atan(x); }},
    {"sinh", sinh, [](double x) { return std::sinh(x); }},
    {"cosh", cosh, [](double x) { return std::cosh(x); }},
    {"tanh", tanh, [](double x) { return std::tanh(x); }},
    {"erf", erf, [](double x) { return std::erf(x); }},
    {"erfc", erfc, [](double x) { return std::erfc(x); }},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"relu", relu, [](double x) { return x > 0 ? x : 0; }, Values::nonzero, true},
    {"gelu", [](const Tensor& x) { return gelu(x); },
     [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
    {"gelu", [](const Tensor& x) { return gelu(x, true); },
     [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x))); }},
    {"floor", floor, [](double x) { return std::floor(x); }, Values::fractional, true},
    {"ceil", ceil, [](double x) { return std::ceil(x); }, Values::fractional, true},
    {"round", round, [](double x) { return std::nearbyint(x); }, Values::fractional, true},
    {"clamp", [](const Tensor& x) { return clamp(x, -0.75, 1.25); },
     [](double x) { return std::fmin(std::fmax(x, -0.75), 1.25); }, Values::any, true},
    {"clamp", [](const Tensor& x) { return clamp(x, 0.5, std::nullopt); }, [](double x) { return std::fmax(x, 0.5); },
     Values::any, true},
    {"clamp", [](const Tensor& x) { return clamp(x, std::nullopt, -0.5); }, [](double x) { return std::fmin(x, -0.5); },
     Values::any, true},
    {"operator", [](const Tensor& x) { return (2.5 - x) * 3 + x / 2 - 1; },
     [](double x) { return (2.5 - x) * 3 + x / 2 - 1; }},
    {"operator", [](const Tensor& x) { return 1 / -x; }, [](double x) { return -1 / x; }, Values::nonzero},
    {"power", [](const Tensor& x) { return power(x, 3); }, [](double x) { return x * x * x; }},
    {"power", [](const Tensor& x) { return power(x, -0.5); }, [](double x) { return std::pow(x, -0.5); },
     Values::positive},
};

struct Predicate {
  const char* name;
  Tensor (*run)(const Tensor&);
  double (*reference)(double);
};

const Predicate kPredicates[] = {
    {"is_nan", is_nan, [](double x) { return std::isnan(x) ? 1.0 : 0.0; }},
    {"is_finite", is_finite, [](double x) { return std::isfinite(x) ? 1.0 : 0.0; }},
    {"logical_not", logical_not, [](double x) { return x == 0 ? 1.0 : 0.0; }},
};

struct Whole {
  const char* name;
  Tensor (*run)(const Tensor&);
  double (*reference)(double);
  bool negatives = true;
};

const Whole kWhole[] = {
    {"negative", negative, [](double x) { return -x; }},
    {"abs", abs, [](double x) { return std::fabs(x); }},
    {"sign", sign, [](double x) { return x > 0   ? 1.0
                                         : x < 0 ? -1.0
                                                 : 0.0; }},
    {"square", square, [](double x) { return x * x; }},
    {"relu", relu, [](double x) { return std::fmax(x, 0); }},
    {"floor", floor, [](double x) { return x; }},
    {"ceil", ceil, [](double x) { return x; }},
    {"round", round, [](double x) { return x; }},
    {"clamp", [](const Tensor& x) { return clamp(x, -1, 2); }, [](double x) { return std::fmin(std::fmax(x, -1), 2); }},
};

template <class Row>
OpCase elementwise(const Row& row, Input input) {
  OpCase result;
  result.op = row.name;
  result.inputs = {std::move(input)};
  result.run = [run = row.run](const std::vector<Tensor>& x) { return run(x[0]); };
  result.reference = [reference = row.reference](const std::vector<Plain>& x) { return map(x[0], reference); };
  return result;
}

}  // namespace

std::vector<OpCase> unary_cases() {
  std::vector<OpCase> rows;
  for (const Unary& unary : kUnary) {
    for (const Sizes& shape : {Sizes{2, 3, 7}, Sizes{}, Sizes{0, 3}, Sizes{1}}) {
      OpCase row = elementwise(unary, {shape, unary.values});
      row.exact = unary.exact;
      rows.push_back(row);
    }
  }
  for (const Predicate& predicate : kPredicates) {
    for (const Sizes& shape : {Sizes{3, 23}, Sizes{}, Sizes{0}}) {
      OpCase row = elementwise(predicate, {shape, Values::special});
      row.dtype = DType::boolean;
      row.derivatives = 0;
      rows.push_back(row);
    }
    for (DType dtype : {DType::boolean, DType::u8, DType::i32, DType::i64}) {
      OpCase row = elementwise(predicate, {{5, 13}, Values::natural, dtype});
      row.dtype = DType::boolean;
      row.derivatives = 0;
      rows.push_back(row);
    }
  }
  for (const Whole& whole : kWhole) {
    for (DType dtype : {DType::i32, DType::i64}) {
      OpCase row = elementwise(whole, {{5, 13}, Values::whole, dtype});
      row.dtype = dtype;
      row.derivatives = 0;
      row.exact = true;
      rows.push_back(row);
    }
  }
  for (const Unary& unary : kUnary) {  // integers become f32
    const std::string_view name = unary.name;
    if (name != "exp" && name != "sigmoid") continue;
    for (DType dtype : {DType::u8, DType::i64, DType::boolean}) {
      OpCase row = elementwise(unary, {{3, 5}, Values::natural, dtype});
      row.dtype = DType::f32;
      row.derivatives = 0;
      rows.push_back(row);
    }
  }
  return rows;
}

}  // namespace weft::cases
