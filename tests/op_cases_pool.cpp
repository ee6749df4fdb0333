#include <cmath>
#include <limits>

#include "tests/op_cases.h"

namespace weft::cases {

namespace {

struct PoolRow {
  const char* what;
  Sizes x;
  PerAxis<2> kernel;
  MaxPool2dOptions options;
};

// f(total or maximum so far, element) over each window; positions outside the input do not count.
Plain pooled(const Plain& x, const PerAxis<2>& kernel, const MaxPool2dOptions& o, double start,
             const std::function<double(double, double)>& f) {
  const auto stride = [&](std::size_t i) { return o.stride[i] == 0 ? kernel[i] : o.stride[i]; };
  const auto out = [&](std::size_t i) { return (x.shape[i + 2] + 2 * o.padding[i] - kernel[i]) / stride(i) + 1; };
  return generate({x.shape[0], x.shape[1], out(0), out(1)}, [&](const Index& i) {
    double value = start;
    for (std::int64_t r = 0; r < kernel[0]; ++r) {
      for (std::int64_t s = 0; s < kernel[1]; ++s) {
        const std::int64_t h = i[2] * stride(0) + r - o.padding[0];
        const std::int64_t w = i[3] * stride(1) + s - o.padding[1];
        if (h >= 0 && h < x.shape[2] && w >= 0 && w < x.shape[3]) value = f(value, x.at({i[0], i[1], h, w}));
      }
    }
    return value;
  });
}

Plain max_pooled(const Plain& x, const PerAxis<2>& kernel, const MaxPool2dOptions& options) {
  return pooled(x, kernel, options, -std::numeric_limits<double>::infinity(),
                [](double a, double b) { return std::fmax(a, b); });
}

Plain mean_pooled(const Plain& x, const PerAxis<2>& kernel, const MaxPool2dOptions& options) {
  const auto area = static_cast<double>(kernel[0] * kernel[1]);
  return pooled(x, kernel, options, 0, [area](double a, double b) { return a + b / area; });
}

}  // namespace

std::vector<OpCase> pool_cases() {
  const PoolRow pools[] = {
      {"2x2", {2, 3, 4, 6}, 2, {}},
      {"remainders", {2, 3, 5, 7}, 2, {}},
      {"overlapping, padded", {2, 5, 6, 5}, 3, {.stride = {2, 2}, .padding = {1, 1}}},
      {"3x2, stride (1, 3)", {1, 19, 6, 7}, {3, 2}, {.stride = {1, 3}, .padding = {1, 0}}},
      {"stride beyond the kernel", {1, 1, 8, 7}, 2, {.stride = {3, 3}}},
      {"C == H == W", {2, 4, 4, 4}, 2, {}},
      {"1x1 map", {2, 3, 1, 1}, 1, {}},
      {"no image", {0, 3, 4, 4}, 2, {}},
      {"no channel", {2, 0, 4, 4}, 2, {}},
  };
  std::vector<OpCase> rows;
  for (const PoolRow& pool : pools) {
    const PerAxis<2> kernel = pool.kernel;
    const MaxPool2dOptions o = pool.options;
    OpCase largest{.op = "max_pool2d", .what = pool.what, .inputs = {{pool.x, Values::distinct}}};
    largest.run = [kernel, o](const std::vector<Tensor>& x) { return max_pool2d(x[0], kernel, o); };
    largest.reference = [kernel, o](const std::vector<Plain>& x) { return max_pooled(x[0], kernel, o); };
    largest.exact = true;
    rows.push_back(largest);
    OpCase average{.op = "avg_pool2d", .what = pool.what, .inputs = {{pool.x}}};
    average.run = [kernel, o](const std::vector<Tensor>& x) {
      return avg_pool2d(x[0], kernel, {.stride = o.stride, .padding = o.padding});
    };
    average.reference = [kernel, o](const std::vector<Plain>& x) { return mean_pooled(x[0], kernel, o); };
    rows.push_back(average);
  }
  for (const Sizes& shape : {Sizes{2, 3, 4, 5}, Sizes{1, 1, 1, 1}, Sizes{0, 2, 3, 3}, Sizes{2, 17, 1, 3}}) {
    const PerAxis<2> whole{shape[2], shape[3]};
    OpCase largest{.op = "global_max_pool2d", .inputs = {{shape, Values::distinct}}};
    largest.run = [](const std::vector<Tensor>& x) { return global_max_pool2d(x[0]); };
    largest.reference = [whole](const std::vector<Plain>& x) { return max_pooled(x[0], whole, {}); };
    largest.exact = true;
    rows.push_back(largest);
    OpCase average{.op = "global_avg_pool2d", .inputs = {{shape}}};
    average.run = [](const std::vector<Tensor>& x) { return global_avg_pool2d(x[0]); };
    average.reference = [whole](const std::vector<Plain>& x) { return mean_pooled(x[0], whole, {}); };
    rows.push_back(average);
  }
  return rows;
}

}  // namespace weft::cases
