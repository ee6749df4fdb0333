#include <cmath>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

struct Moments {
  std::vector<double> mean;
  std::vector<double> var;  // biased
};

std::size_t channels(const Plain& x) { return static_cast<std::size_t>(x.shape[1]); }

double per_channel(const Plain& x) { return static_cast<double>(x.values.size()) / static_cast<double>(x.shape[1]); }

Moments moments(const Plain& x) {
  Moments m{std::vector<double>(channels(x)), std::vector<double>(channels(x))};
  for_each_index(x.shape, [&](const Index& i) { m.mean[static_cast<std::size_t>(i[1])] += x.at(i) / per_channel(x); });
  for_each_index(x.shape, [&](const Index& i) {
    const auto c = static_cast<std::size_t>(i[1]);
    m.var[c] += (x.at(i) - m.mean[c]) * (x.at(i) - m.mean[c]) / per_channel(x);
  });
  return m;
}

// Inputs: x, weight, bias, ..., and the residual as the last one if any.
Plain normalised(const std::vector<Plain>& t, const Moments& m, double eps, bool relu, bool residual) {
  return generate(t[0].shape, [&](const Index& i) {
    const auto c = static_cast<std::size_t>(i[1]);
    const double y = (t[0].at(i) - m.mean[c]) / std::sqrt(m.var[c] + eps) * t[1].values[c] + t[2].values[c];
    return (relu ? std::fmax(y, 0) : y) + (residual ? t.back().at(i) : 0);
  });
}

std::vector<Input> inputs_of(const Sizes& x) { return {{x}, {{x[1]}, Values::nonzero}, {{x[1]}}}; }

// Parameters of a bf16 input are f32.
Tensor parameter(const Tensor& x) { return x.dtype() == DType::bf16 ? x.to(DType::f32) : x; }

// The running statistics after one step from 0 and 1, mean first.
OpCase running_case(const Sizes& shape, bool unbiased) {
  OpCase row{.op = "batch_norm",
             .what = unbiased ? "running statistics" : "biased running statistics",
             .inputs = inputs_of(shape)};
  const BatchNormOptions options{.momentum = 0.3, .unbiased_running = unbiased};
  row.run = [options](const std::vector<Tensor>& t) {
    const Tensor weight = parameter(t[1]), bias = parameter(t[2]);
    const Tensor mean = zeros_like(weight);
    const Tensor var = ones_like(weight);
    batch_norm(t[0], weight, bias, mean, var, options);
    return concatenate({mean, var}).to(t[0].dtype());
  };
  row.reference = [unbiased](const std::vector<Plain>& t) {
    const Moments m = moments(t[0]);
    const double n = per_channel(t[0]);
    Plain result{{2 * t[0].shape[1]}, {}};
    for (double mean : m.mean) result.values.push_back(0.3 * mean);
    for (double var : m.var) result.values.push_back(0.7 + 0.3 * var * (unbiased ? n / (n - 1) : 1));
    return result;
  };
  row.derivatives = 0;
  return row;
}

// What two calls add to a count of batches, for each channel.
OpCase batches_case(const Sizes& shape) {
  OpCase row{.op = "batch_norm", .what = "count of batches", .inputs = inputs_of(shape)};
  row.run = [](const std::vector<Tensor>& t) {
    const Tensor batches = zeros({}, {.dtype = DType::i64, .device = t[0].device()});
    const Tensor weight = parameter(t[1]), bias = parameter(t[2]);
    for (int i = 0; i < 2; ++i) batch_norm(t[0], weight, bias, {}, {}, {}, {.batches = batches});
    batch_norm(t[0], weight, bias, bias, weight, {}, {.training = false, .batches = batches});
    return expand(batches.to(t[0].dtype()), {t[0].size(1)});
  };
  row.reference = [](const std::vector<Plain>& t) {
    return Plain{{t[0].shape[1]}, std::vector<double>(channels(t[0]), 2)};
  };
  row.derivatives = 0;
  row.exact = true;
  return row;
}

}  // namespace

std::vector<OpCase> norm_cases() {
  std::vector<OpCase> rows;
  for (const Sizes& shape :
       {Sizes{5, 3}, Sizes{3, 4, 2, 3}, Sizes{2, 3, 5}, Sizes{2, 1, 3, 3}, Sizes{4, 4, 4, 4}, Sizes{2, 19, 2, 2},
        Sizes{2, 8, 3, 6}, Sizes{0, 3}, Sizes{0, 3, 2, 2}, Sizes{2, 0, 3, 3}}) {
    for (const bool relu : {false, true}) {
      for (const bool residual : {false, true}) {
        const std::string fused = std::string(relu ? ", relu" : "") + (residual ? ", residual" : "");
        constexpr double kEps = 1e-3;
        OpCase row{.op = "batch_norm", .what = "training" + fused, .inputs = inputs_of(shape)};
        if (residual) row.inputs.push_back({shape});
        row.run = [=](const std::vector<Tensor>& t) {
          return batch_norm(t[0], parameter(t[1]), parameter(t[2]), {}, {}, {.eps = kEps},
                            {.relu = relu, .residual = residual ? t[3] : Tensor()});
        };
        if (shape[0] == 0) row.derivatives = 1;  // the second ones need the mean of nothing
        row.reference = [=](const std::vector<Plain>& t) { return normalised(t, moments(t[0]), kEps, relu, residual); };
        rows.push_back(row);

        OpCase still{.op = "batch_norm", .what = "evaluation" + fused, .inputs = inputs_of(shape)};
        still.inputs.push_back({{shape[1]}});
        still.inputs.push_back({{shape[1]}, Values::positive});
        if (residual) still.inputs.push_back({shape});
        still.run = [=](const std::vector<Tensor>& t) {
          return batch_norm(t[0], parameter(t[1]), parameter(t[2]), parameter(t[3]), parameter(t[4]), {.eps = kEps},
                            {.training = false, .relu = relu, .residual = residual ? t[5] : Tensor()});
        };
        still.reference = [=](const std::vector<Plain>& t) {
          return normalised(t, {t[3].values, t[4].values}, kEps, relu, residual);
        };
        rows.push_back(still);
      }
    }
  }
  for (bool unbiased : {true, false}) {
    rows.push_back(running_case({5, 3}, unbiased));
    rows.push_back(running_case({3, 4, 2, 3}, unbiased));
    rows.push_back(running_case({2, 16, 50, 50}, unbiased));
  }
  for (const Sizes& shape : {Sizes{5, 3}, Sizes{0, 3}, Sizes{0, 3, 2, 2}, Sizes{2, 3, 60, 60}}) {
    rows.push_back(batches_case(shape));
  }
  for (const bool training : {true, false}) {
    OpCase row{.op = "dropout", .what = training ? "p = 0" : "not training", .inputs = {{{3, 7}}}};
    row.run = [training](const std::vector<Tensor>& t) { return dropout(t[0], training ? 0 : 0.5, training); };
    row.reference = [](const std::vector<Plain>& t) { return t[0]; };
    row.exact = true;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace weft::cases
