#include <cmath>
#include <limits>

#include "cli/check.h"

// The pointwise functions: cuda/array/pointwise.cu.

namespace weft::cli::check {

namespace {

/// Not a multiple of a pack of 16 bytes; enough for several blocks.
constexpr std::int64_t kCount = 1037;

struct Unary {
  const char* name;
  Tensor (*function)(const Tensor&);
  bool positive = false;  ///< its arguments
  bool exact = false;     ///< no dtype rounds it more than once
};

// A function's gradient goes with it where it is written in functors of its own.
constexpr Unary kUnary[] = {
    {"negative", negative, false, true},
    {"abs", abs, false, true},
    {"sign", sign, false, true},
    {"square", square, false, true},
    {"reciprocal", reciprocal, true, true},
    {"sqrt", weft::sqrt, true, true},
    {"rsqrt", rsqrt, true},
    {"exp", weft::exp},
    {"expm1", weft::expm1},
    {"log", weft::log, true},
    {"log1p", weft::log1p, true},
    {"log2", weft::log2, true},
    {"log10", weft::log10, true},
    {"sin", weft::sin},
    {"cos", weft::cos},
    {"tan", [](const Tensor& x) { return weft::tan(x * 0.5); }},
    {"asin", [](const Tensor& x) { return weft::asin(x * 0.4375); }},
    {"acos", [](const Tensor& x) { return weft::acos(x * 0.4375); }},
    {"atan", weft::atan},
    {"sinh", weft::sinh},
    {"cosh", weft::cosh},
    {"tanh", weft::tanh},
    {"erf", weft::erf},
    {"erfc", weft::erfc},
    {"sigmoid", sigmoid},
    {"relu", relu, false, true},
    {"gelu", [](const Tensor& x) { return gelu(x); }},
    {"gelu by tanh", [](const Tensor& x) { return gelu(x, true); }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.125); }, false, true},
    {"elu", [](const Tensor& x) { return elu(x, 0.5); }},
    {"celu", [](const Tensor& x) { return celu(x, 0.5); }},
    {"silu", silu},
    {"softplus", [](const Tensor& x) { return softplus(x); }},
    {"hardsigmoid", hardsigmoid},
    {"hardswish", hardswish},
    {"clamp", [](const Tensor& x) { return clamp(x, -1, 0.5); }, false, true},
    {"floor", weft::floor, false, true},
    {"ceil", weft::ceil, false, true},
    {"round", weft::round, false, true},
};

struct Binary {
  const char* name;
  Tensor (*function)(const Tensor&, const Tensor&);
  bool positive = false;
  bool exact = false;
};
constexpr Binary kBinary[] = {
    {"add", add, false, true},
    {"subtract", subtract, false, true},
    {"multiply", multiply, false, true},
    {"divide", divide, true},
    {"power", [](const Tensor& a, const Tensor& b) { return power(a, b); }, true},
    {"maximum", [](const Tensor& a, const Tensor& b) { return maximum(a, b); }, false, true},
    {"minimum", [](const Tensor& a, const Tensor& b) { return minimum(a, b); }, false, true},
    {"atan2", weft::atan2, true},
};

/// With values and gradients of the whole numbers' arithmetic, which the dtypes of integers share.
struct Whole {
  const char* name;
  Tensor (*function)(const Tensor&, const Tensor&);
};
constexpr Whole kWhole[] = {
    {"add", add},
    {"subtract", subtract},
    {"multiply", multiply},
    {"divide", divide},
    {"floor_divide", floor_divide},
    {"remainder", remainder},
    {"maximum", [](const Tensor& a, const Tensor& b) { return maximum(a, b); }},
    {"minimum", [](const Tensor& a, const Tensor& b) { return minimum(a, b); }},
    {"equal", equal},
    {"less", less},
    {"greater_equal", greater_equal},
};

/// NaN, infinities, zeros, the smallest and the largest numbers.
Tensor special(DType dtype, const Device& device) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double values[] = {std::nan(""), kInfinity, -kInfinity, 0.0,  -0.0,  1.0, -1.0, 2.5,
                           -2.5,         1e-30,     -1e-30,     1e30, -1e30, 0.5, -0.5, 3.0};
  return Tensor::from(std::span<const double>(values), {16}, {.dtype = computed(dtype, device)}).to(device);
}

std::string called(const char* function, DType dtype) { return std::string(function) + " " + std::string(name(dtype)); }

Family unary_family() {
  Family family{"functions of one number", {}};
  for (const Unary& row : kUnary) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({called(row.name, dtype), row.exact ? kBits : bound_of(dtype),
                              [&row, dtype](const Device& device) {
                                const Tensor x = draw(Shape{kCount}, dtype, device, 1, row.positive);
                                return Tensors{row.function(x)};
                              },
                              only_gpu(dtype)});
    }
    // By the derivative's own rule, and through memory in another order.
    family.cases.push_back(
        {called(row.name, DType::f32) + " and its gradient", bound_of(DType::f32), [&row](const Device& device) {
           const Tensor x = draw_leaf({17, 61}, DType::f32, device, 2, row.positive);
           return with_gradients(row.function(x.transpose(0, 1)), {x});
         }});
  }
  return family;
}

Family binary_family() {
  Family family{"functions of two numbers", {}};
  for (const Binary& row : kBinary) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({called(row.name, dtype), row.exact ? kBits : bound_of(dtype),
                              [&row, dtype](const Device& device) {
                                const Tensor a = draw(Shape{kCount}, dtype, device, 3, row.positive);
                                const Tensor b = draw(Shape{kCount}, dtype, device, 4, row.positive);
                                return Tensors{row.function(a, b)};
                              },
                              only_gpu(dtype)});
    }
    family.cases.push_back({called(row.name, DType::f32) + " broadcast, and its gradients", bound_of(DType::f32),
                            [&row](const Device& device) {
                              const Tensor a = draw_leaf({5, 1, 33}, DType::f32, device, 5, row.positive);
                              const Tensor b = draw_leaf({7, 33}, DType::f32, device, 6, row.positive);
                              return with_gradients(row.function(a, b), {a, b});
                            }});
  }
  return family;
}

Family whole_family() {
  Family family{"whole numbers", {}};
  for (const Whole& row : kWhole) {
    for (const DType dtype : {DType::u8, DType::i32, DType::i64}) {
      family.cases.push_back({called(row.name, dtype), kBits, [&row, dtype](const Device& device) {
                                const Tensor a = draw(Shape{kCount}, dtype, device, 7);
                                return Tensors{row.function(a, draw(Shape{kCount}, dtype, device, 8))};
                              }});
    }
  }
  return family;
}

Family comparison_family() {
  Family family{"comparisons and choices", {}};
  struct Comparison {
    const char* name;
    Tensor (*function)(const Tensor&, const Tensor&);
  };
  static constexpr Comparison kComparisons[] = {{"equal", equal},
                                                {"not_equal", not_equal},
                                                {"less", less},
                                                {"less_equal", less_equal},
                                                {"greater", greater},
                                                {"greater_equal", greater_equal},
                                                {"logical_and", logical_and},
                                                {"logical_or", logical_or},
                                                {"logical_xor", logical_xor}};
  for (const DType dtype : kFloats) {
    family.cases.push_back({called("all pairs of special numbers", dtype), kBits,
                            [dtype](const Device& device) {
                              const Tensor a = special(dtype, device).reshape({16, 1}), b = special(dtype, device);
                              Tensors results;
                              for (const Comparison& c : kComparisons) results.push_back(c.function(a, b));
                              results.push_back(maximum(a, b));
                              results.push_back(minimum(a, b));
                              return results;
                            },
                            only_gpu(dtype)});
    family.cases.push_back({called("special numbers", dtype), kBits,
                            [dtype](const Device& device) {
                              const Tensor x = special(dtype, device);
                              return Tensors{is_nan(x), is_finite(x), logical_not(x), sign(x), relu(x)};
                            },
                            only_gpu(dtype)});
    family.cases.push_back({called("where", dtype), kBits,
                            [dtype](const Device& device) {
                              const Tensor condition = draw({9, 11}, DType::boolean, device, 9);
                              const Tensor a = draw_leaf({9, 11}, dtype, device, 10);
                              const Tensor b = draw_leaf({11}, dtype, device, 11);
                              return Tensors{where(condition, a, b),
                                             where(condition.transpose(0, 1), b.slice(0, 0, 9), a.transpose(0, 1))};
                            },
                            only_gpu(dtype)});
  }
  return family;
}

Family conversion_family() {
  Family family{"conversions", {}};
  constexpr DType kAll[] = {DType::boolean, DType::u8, DType::i32, DType::i64, DType::f32, DType::f64};
  for (const DType from : kAll) {
    for (const DType to : kAll) {
      if (from == to) continue;
      family.cases.push_back(
          {std::string(name(from)) + " to " + std::string(name(to)), kBits, [from, to](const Device& device) {
             // u8 takes no negative number.
             return Tensors{draw(Shape{kCount}, from, device, 12, true).to(to)};
           }});
    }
  }
  family.cases.push_back({"f32 to bf16 and back", kBits, [](const Device& device) {
                            const Tensor x = draw(Shape{kCount}, DType::f32, device, 13);
                            return Tensors{(x * (1.0 / 3)).to(DType::bf16).to(DType::f32)};
                          }});
  return family;
}

}  // namespace

void add_elementwise(std::vector<Family>& families) {
  families.push_back(unary_family());
  families.push_back(binary_family());
  families.push_back(whole_family());
  families.push_back(comparison_family());
  families.push_back(conversion_family());
}

}  // namespace weft::cli::check
