#include <cmath>
#include <limits>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

struct Activation {
  const char* name;
  const char* what;
  Tensor (*run)(const Tensor&);
  double (*reference)(double);
  Values values = Values::any;
  bool exact = false;
};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double clipped(double x, double low, double high) { return std::fmin(std::fmax(x, low), high); }
double elu_of(double x, double alpha) { return x > 0 ? x : alpha * (std::exp(x) - 1); }
double celu_of(double x, double alpha) {
  return std::fmax(0, x) + std::fmin(0, alpha * (std::exp(clipped(x, -1e6, 0) / alpha) - 1));
}
double softplus_of(double x, double beta, double threshold) {
  return beta * x > threshold ? x : std::log(1 + std::exp(beta * x)) / beta;
}

// Inputs are multiplied by powers of two, which is exact in every dtype, to reach both sides of the kinks, and far
// beyond where an exponential overflows.
const Activation kActivations[] = {
    {"leaky_relu", "default", [](const Tensor& x) { return leaky_relu(x); },
     [](double x) { return x > 0 ? x : 0.01 * x; }, Values::nonzero},
    {"leaky_relu", "slope -0.5", [](const Tensor& x) { return leaky_relu(x, -0.5); },
     [](double x) { return x > 0 ? x : -0.5 * x; }, Values::nonzero, true},
    {"elu", "default", [](const Tensor& x) { return elu(x); }, [](double x) { return elu_of(x, 1); }, Values::nonzero},
    {"elu", "alpha 1.7", [](const Tensor& x) { return elu(x, 1.7); }, [](double x) { return elu_of(x, 1.7); },
     Values::nonzero},
    {"elu", "large", [](const Tensor& x) { return elu(x * 1024); }, [](double x) { return elu_of(x * 1024, 1); },
     Values::nonzero},
    {"celu", "default", [](const Tensor& x) { return celu(x); }, [](double x) { return celu_of(x, 1); },
     Values::nonzero},
    {"celu", "alpha 0.6", [](const Tensor& x) { return celu(x, 0.6); }, [](double x) { return celu_of(x, 0.6); },
     Values::nonzero},
    {"celu", "large", [](const Tensor& x) { return celu(x * 1024, 0.5); },
     [](double x) { return celu_of(x * 1024, 0.5); }, Values::nonzero},
    {"silu", "", silu, [](double x) { return x * logistic(x); }},
    {"silu", "large", [](const Tensor& x) { return silu(x * 1024); },
     [](double x) { return x * 1024 * logistic(x * 1024); }, Values::nonzero},
    {"softplus", "default", [](const Tensor& x) { return softplus(x); },
     [](double x) { return softplus_of(x, 1, 20); }},
    {"softplus", "beta 2, threshold 1.5", [](const Tensor& x) { return softplus(x, 2, 1.5); },
     [](double x) { return softplus_of(x, 2, 1.5); }},
    {"softplus", "beta -0.7", [](const Tensor& x) { return softplus(x, -0.7); },
     [](double x) { return softplus_of(x, -0.7, 20); }},
    {"softplus", "large", [](const Tensor& x) { return softplus(x * 1024); },
     [](double x) { return softplus_of(x * 1024, 1, 20); }, Values::nonzero},
    {"softplus", "large, no threshold",
     [](const Tensor& x) { return softplus(x * 256, 1, std::numeric_limits<double>::infinity()); },
     [](double x) { return softplus_of(x * 256, 1, 700); }, Values::nonzero},
    {"hardtanh", "default", [](const Tensor& x) { return hardtanh(x); }, [](double x) { return clipped(x, -1, 1); },
     Values::any, true},
    {"hardtanh", "-0.75 to 1.25", [](const Tensor& x) { return hardtanh(x, -0.75, 1.25); },
     [](double x) { return clipped(x, -0.75, 1.25); }, Values::any, true},
    {"relu6", "", [](const Tensor& x) { return relu6(x * 4); }, [](double x) { return clipped(x * 4, 0, 6); },
     Values::any, true},
    {"hardsigmoid", "", [](const Tensor& x) { return hardsigmoid(x * 2); },
     [](double x) { return clipped(x * 2 + 3, 0, 6) / 6; }},
    {"hardswish", "", [](const Tensor& x) { return hardswish(x * 2); },
     [](double x) { return x * 2 * clipped(x * 2 + 3, 0, 6) / 6; }},
    {"hardswish", "large", [](const Tensor& x) { return hardswish(x * 1024); },
     [](double x) { return x * 1024 * clipped(x * 1024 + 3, 0, 6) / 6; }, Values::nonzero},
};

OpCase row_of(const Activation& activation, Input input) {
  OpCase row{.op = activation.name, .what = activation.what, .inputs = {std::move(input)}};
  row.run = [run = activation.run](const std::vector<Tensor>& x) { return run(x[0]); };
  row.reference = [reference = activation.reference](const std::vector<Plain>& x) { return map(x[0], reference); };
  return row;
}

}  // namespace

std::vector<OpCase> activation_cases() {
  std::vector<OpCase> rows;
  for (const Activation& activation : kActivations) {
    for (const Sizes& shape : {Sizes{2, 3, 7}, Sizes{}, Sizes{0, 3}, Sizes{1}, Sizes{3, 3, 3, 3}}) {
      OpCase row = row_of(activation, {shape, activation.values});
      row.exact = activation.exact;
      rows.push_back(row);
    }
    OpCase whole = row_of(activation, {{3, 5}, Values::natural, DType::i64});  // integers become f32
    whole.dtype = DType::f32;
    whole.derivatives = 0;
    rows.push_back(whole);
  }
  return rows;
}

}  // namespace weft::cases
