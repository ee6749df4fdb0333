#include "core/device/conv_algo.h"
#include "tests/op_cases.h"

namespace weft::cases {

const std::vector<ConvRow>& conv_rows() {
  static const std::vector<ConvRow> rows{
      {"plain", 2, 3, 5, 6, 4, 3, 3},
      {"bias", 2, 3, 5, 5, 4, 3, 3, {.padding = {1, 1}}, true},
      {"C == H == W", 2, 4, 4, 4, 5, 3, 3, {.padding = {1, 1}}},
      {"K == C == H == W == R == S", 3, 3, 3, 3, 3, 3, 3, {.padding = {1, 1}}, true},
      {"one channel in", 2, 1, 6, 5, 3, 3, 3, {.padding = {1, 1}}},
      {"one channel out", 2, 3, 6, 5, 1, 3, 3},
      {"1x1 filter", 2, 5, 4, 3, 6, 1, 1},
      {"1x1 filter, two groups", 2, 6, 4, 3, 8, 1, 1, {.groups = 2}, true},
      {"1x1 filter, stride 2", 2, 5, 5, 4, 3, 1, 1, {.stride = {2, 2}}},
      {"1x1 map", 3, 5, 1, 1, 4, 1, 1, {}, true},
      {"1x1 map, padded", 2, 3, 1, 1, 4, 3, 3, {.padding = {1, 1}}},
      {"the whole map", 2, 3, 4, 5, 6, 4, 5},
      {"filter larger than the unpadded input", 2, 2, 3, 2, 3, 5, 4, {.padding = {2, 2}}},
      {"stride 2", 2, 3, 7, 7, 4, 3, 3, {.stride = {2, 2}, .padding = {1, 1}}},
      {"stride 2 with a remainder", 2, 3, 8, 6, 4, 3, 3, {.stride = {2, 2}}},
      {"stride 2 with a remainder, padded", 2, 3, 8, 8, 4, 3, 3, {.stride = {2, 2}, .padding = {1, 1}}},
      {"stride (3, 2) with remainders", 2, 2, 9, 8, 3, 2, 3, {.stride = {3, 2}, .padding = {0, 1}}, true},
      {"stride beyond the filter", 1, 2, 8, 9, 3, 2, 2, {.stride = {3, 4}}},
      {"padding beyond the filter", 1, 2, 4, 3, 3, 2, 2, {.padding = {3, 2}}},
      {"one tap of two ever inside", 1, 1, 1, 1, 1, 1, 2, {.stride = {1, 2}, .padding = {0, 3}}},
      {"padding beyond the filter, stride 2", 1, 2, 4, 5, 3, 2, 1, {.stride = {2, 2}, .padding = {3, 2}}},
      {"padding (0, 1)", 1, 2, 4, 5, 2, 3, 3, {.padding = {0, 1}}},
      {"padding ((1, 3), (2, 0)), stride (2, 3)", 1, 2, 4, 5, 2, 3, 2, {.stride = {2, 3}, .padding = {{1, 3}, {2, 0}}}},
      {"dilation 2", 2, 2, 7, 8, 3, 3, 3, {.padding = {2, 1}, .dilation = {2, 2}}},
      {"dilation (1, 3), stride 2", 1, 2, 8, 9, 3, 3, 3, {.stride = {2, 2}, .padding = {1, 2}, .dilation = {1, 3}}},
      {"dilation 2, stride 3, remainder", 1, 3, 10, 11, 2, 2, 3, {.stride = {3, 3}, .dilation = {2, 2}}},
      {"two groups", 2, 4, 5, 4, 6, 3, 3, {.padding = {1, 1}, .groups = 2}, true},
      {"depthwise", 2, 3, 5, 5, 3, 3, 3, {.stride = {2, 2}, .padding = {1, 1}, .groups = 3}},
      {"depthwise, two filters each", 1, 3, 5, 4, 6, 2, 3, {.dilation = {2, 1}, .groups = 3}},
      {"one image", 1, 3, 6, 6, 8, 3, 3, {.padding = {1, 1}}, true},
      {"no image", 0, 3, 5, 5, 4, 3, 3, {.padding = {1, 1}}, true},
      {"no channel", 2, 0, 5, 5, 4, 3, 3, {}, true},
      {"no filter", 2, 3, 5, 5, 0, 3, 3},
      {"depthwise, no image", 0, 4, 5, 4, 8, 3, 3, {.padding = {1, 1}, .groups = 4}, true},
      {"depthwise, no filter", 2, 4, 5, 4, 0, 3, 3, {.stride = {2, 1}, .padding = {1, 1}, .groups = 4}},
      {"depthwise of one channel, no filter", 2, 1, 5, 4, 0, 3, 3},
      {"two groups, no channel", 2, 0, 5, 4, 6, 3, 3, {.padding = {1, 1}, .groups = 2}, true},
      {"two groups, no filter", 2, 6, 5, 4, 0, 3, 3, {.stride = {1, 2}, .groups = 2}},
      {"1x1 filter, no image", 0, 3, 5, 4, 2, 1, 1, {}, true},
      {"1x1 filter, no channel", 2, 0, 5, 4, 2, 1, 1, {}, true},
      {"1x1, no filter", 2, 3, 5, 4, 0, 1, 1},
      {"no height, padded", 2, 3, 0, 4, 2, 1, 3, {.padding = {1, 1}}, true},
      {"one row", 1, 2, 1, 9, 3, 1, 3},
      {"one column", 1, 2, 9, 1, 3, 3, 1, {.stride = {2, 1}}},
      {"wide channels", 1, 19, 4, 4, 17, 3, 3, {.padding = {1, 1}}},
      {"3x3, padding ((0, 3), (4, 1))", 2, 3, 6, 5, 4, 3, 3, {.padding = {{0, 3}, {4, 1}}}, true},
      {"3x3, two tiles and one column", 2, 3, 8, 9, 5, 3, 3, {.padding = {1, 1}}},
      {"depthwise, wide", 2, 19, 5, 6, 19, 3, 3, {.padding = {1, 1}, .groups = 19}, true},
      {"depthwise, dilation 2, padding beyond the filter",
       1,
       5,
       6,
       5,
       10,
       3,
       2,
       {.stride = {2, 1}, .padding = {4, 3}, .dilation = {2, 2}, .groups = 5}},
      {"more than 65,535 rows", 1, 1, 257, 258, 2, 1, 2, {}, true, true},
      {"a tall batch, stride 2", 5, 7, 33, 31, 19, 3, 3, {.stride = {2, 2}, .padding = {1, 1}}, true, true},
      {"deep", 3, 40, 12, 12, 35, 3, 3, {.padding = {1, 1}}, false, true},
  };
  return rows;
}

namespace {

// f(x, weight and y positions) for every product of the convolution.
template <class F>
void for_each_product(const ConvRow& row, const F& f) {
  const Conv2dOptions& o = row.options;
  const std::int64_t group_c = row.c / o.groups;
  const std::int64_t group_k = row.k / o.groups;
  const std::int64_t x_step = row.h * row.w, weight_step = row.r * row.s;  // from one channel to the next
  for (std::int64_t n = 0; n < row.n; ++n)
    for (std::int64_t k = 0; k < row.k; ++k)
      for (std::int64_t p = 0; p < row.p(); ++p)
        for (std::int64_t q = 0; q < row.q(); ++q)
          for (std::int64_t r = 0; r < row.r; ++r)
            for (std::int64_t s = 0; s < row.s; ++s) {
              const std::int64_t h = p * o.stride[0] + r * o.dilation[0] - o.padding.before[0];
              const std::int64_t w = q * o.stride[1] + s * o.dilation[1] - o.padding.before[1];
              if (h < 0 || h >= row.h || w < 0 || w >= row.w) continue;
              std::int64_t x_at = (n * row.c + k / group_k * group_c) * x_step + h * row.w + w;
              std::int64_t weight_at = k * group_c * weight_step + r * row.s + s;
              const std::int64_t y_at = ((n * row.k + k) * row.p() + p) * row.q() + q;
              for (std::int64_t c = 0; c < group_c; ++c, x_at += x_step, weight_at += weight_step)
                f(static_cast<std::size_t>(x_at), static_cast<std::size_t>(weight_at), static_cast<std::size_t>(y_at));
            }
}

Plain zeros_of(const Sizes& shape) { return {shape, std::vector<double>(static_cast<std::size_t>(count(shape)))}; }

Plain forward(const ConvRow& row, const Plain& x, const Plain& weight) {
  Plain y = zeros_of(row.y());
  for_each_product(row,
                   [&](std::size_t i, std::size_t j, std::size_t o) { y.values[o] += x.values[i] * weight.values[j]; });
  return y;
}

Plain input_grad(const ConvRow& row, const Plain& g, const Plain& weight) {
  Plain x = zeros_of(row.x());
  for_each_product(row,
                   [&](std::size_t i, std::size_t j, std::size_t o) { x.values[i] += g.values[o] * weight.values[j]; });
  return x;
}

Plain weight_grad(const ConvRow& row, const Plain& g, const Plain& x) {
  Plain weight = zeros_of(row.weight());
  for_each_product(row,
                   [&](std::size_t i, std::size_t j, std::size_t o) { weight.values[j] += g.values[o] * x.values[i]; });
  return weight;
}

OpCase conv_case(const char* op, const ConvRow& conv, std::vector<Input> inputs) {
  OpCase row{.op = op, .what = conv.what, .inputs = std::move(inputs)};
  if (conv.large) row.derivatives = 0;
  return row;
}

OpCase forward_case(const ConvRow& conv) {
  OpCase row = conv_case("conv2d", conv, {{conv.x()}, {conv.weight()}});
  if (conv.bias) row.inputs.push_back({{conv.k}});
  row.run = [conv](const std::vector<Tensor>& t) {
    return conv2d(t[0], t[1], conv.bias ? t[2] : Tensor(), conv.options);
  };
  row.reference = [conv](const std::vector<Plain>& t) {
    const Plain y = forward(conv, t[0], t[1]);
    return conv.bias ? zip(y, reshaped(t[2], {conv.k, 1, 1}), [](double a, double b) { return a + b; }) : y;
  };
  return row;
}

void add_gradients(std::vector<OpCase>& rows, const ConvRow& conv) {
  OpCase input = conv_case("conv2d_input_grad", conv, {{conv.y()}, {conv.weight()}});
  input.run = [conv](const std::vector<Tensor>& t) {
    return conv2d_input_grad(t[0], t[1], to_shape(conv.x()), conv.options);
  };
  input.reference = [conv](const std::vector<Plain>& t) { return input_grad(conv, t[0], t[1]); };
  rows.push_back(input);
  OpCase weight = conv_case("conv2d_weight_grad", conv, {{conv.y()}, {conv.x()}});
  weight.run = [conv](const std::vector<Tensor>& t) {
    return conv2d_weight_grad(t[0], t[1], to_shape(conv.weight()), conv.options);
  };
  weight.reference = [conv](const std::vector<Plain>& t) { return weight_grad(conv, t[0], t[1]); };
  rows.push_back(weight);
}

void add_composed(std::vector<OpCase>& rows, const ConvRow& conv) {
  OpCase y = conv_case("composed::conv2d", conv, {{conv.x()}, {conv.weight()}});
  y.run = [conv](const std::vector<Tensor>& t) { return composed::conv2d(t[0], t[1], conv.options); };
  y.reference = [conv](const std::vector<Plain>& t) { return forward(conv, t[0], t[1]); };
  rows.push_back(y);
  OpCase input = conv_case("composed::conv2d_input_grad", conv, {{conv.y()}, {conv.weight()}});
  input.run = [conv](const std::vector<Tensor>& t) {
    return composed::conv2d_input_grad(t[0], t[1], to_shape(conv.x()), conv.options);
  };
  input.reference = [conv](const std::vector<Plain>& t) { return input_grad(conv, t[0], t[1]); };
  rows.push_back(input);
  OpCase weight = conv_case("composed::conv2d_weight_grad", conv, {{conv.y()}, {conv.x()}});
  weight.run = [conv](const std::vector<Tensor>& t) {
    return composed::conv2d_weight_grad(t[0], t[1], to_shape(conv.weight()), conv.options);
  };
  weight.reference = [conv](const std::vector<Plain>& t) { return weight_grad(conv, t[0], t[1]); };
  rows.push_back(weight);
}

/// One image without the axis N.
OpCase unbatched_case() {
  const ConvRow conv{"no axis N", 1, 3, 5, 6, 4, 3, 3, {.stride = {2, 1}}, false, false};
  OpCase row = conv_case("conv2d", conv, {{{3, 5, 6}}, {conv.weight()}});
  row.run = [conv](const std::vector<Tensor>& t) { return conv2d(t[0], t[1], {}, conv.options); };
  row.reference = [conv](const std::vector<Plain>& t) {
    Plain y = forward(conv, reshaped(t[0], conv.x()), t[1]);
    return reshaped(y, {conv.k, conv.p(), conv.q()});
  };
  return row;
}

OpCase im2col_case(Sizes x, std::array<std::int64_t, 2> kernel, std::array<std::int64_t, 2> stride,
                   std::array<std::int64_t, 2> dilation) {
  OpCase row{.op = "composed::im2col", .what = "kernel " + std::to_string(kernel[0]), .inputs = {{x}}};
  row.run = [=](const std::vector<Tensor>& t) { return composed::im2col(t[0], kernel, stride, dilation); };
  row.reference = [=](const std::vector<Plain>& t) {
    const std::int64_t p = (x[2] - dilation[0] * (kernel[0] - 1) - 1) / stride[0] + 1;
    const std::int64_t q = (x[3] - dilation[1] * (kernel[1] - 1) - 1) / stride[1] + 1;
    return generate({x[0] * p * q, x[1] * kernel[0] * kernel[1]}, [&](const Index& i) {
      const std::int64_t s = i[1] % kernel[1];
      const std::int64_t r = i[1] / kernel[1] % kernel[0];
      const std::int64_t c = i[1] / kernel[1] / kernel[0];
      return t[0].at(
          {i[0] / q / p, c, i[0] / q % p * stride[0] + r * dilation[0], i[0] % q * stride[1] + s * dilation[1]});
    });
  };
  row.exact = true;
  return row;
}

/// The convolution's sizes as the backends have them, as far as the choice of an algorithm needs them.
ConvShape conv_shape(const ConvRow& row) {
  ConvShape shape;
  shape.n = row.n;
  shape.c = row.c;
  shape.k = row.k;
  shape.groups = row.options.groups;
  shape.in = {1, row.h, row.w};
  shape.filter = {1, row.r, row.s};
  shape.out = {1, row.p(), row.q()};
  for (std::size_t i = 0; i < 2; ++i) {
    shape.stride[i + 1] = row.options.stride[i];
    shape.padding[i + 1] = row.options.padding.before[i];
    shape.dilation[i + 1] = row.options.dilation[i];
  }
  return shape;
}

void add_pinned(std::vector<OpCase>& rows, ConvRow conv, ConvAlgo algo) {
  conv.options.algo = algo;
  conv.what.append(", algo ").append(name(algo));
  std::vector<OpCase> pinned{forward_case(conv)};
  add_gradients(pinned, conv);
  for (OpCase& row : pinned) {
    row.takes_bf16 = algo != ConvAlgo::winograd;
    row.any_layout = !conv.large;  // `automatic` has them all
    rows.push_back(std::move(row));
  }
}

}  // namespace

std::vector<OpCase> conv_cases() {
  std::vector<OpCase> rows;
  for (const ConvRow& conv : conv_rows()) {
    rows.push_back(forward_case(conv));
    add_gradients(rows, conv);
    if (conv.options.groups == 1 && !conv.large) add_composed(rows, conv);
    for (const ConvAlgo algo :
         {ConvAlgo::reference, ConvAlgo::im2col, ConvAlgo::direct, ConvAlgo::winograd, ConvAlgo::implicit_gemm}) {
      if (applies(algo, conv_shape(conv), DType::f32)) add_pinned(rows, conv, algo);
    }
  }
  rows.push_back(unbatched_case());
  rows.push_back(im2col_case({2, 3, 5, 4}, {3, 2}, {1, 1}, {1, 1}));
  rows.push_back(im2col_case({2, 2, 7, 6}, {3, 3}, {2, 1}, {1, 2}));
  rows.push_back(im2col_case({1, 1, 1, 1}, {1, 1}, {1, 1}, {1, 1}));
  rows.push_back(im2col_case({0, 2, 3, 3}, {2, 2}, {1, 1}, {1, 1}));
  return rows;
}

}  // namespace weft::cases
