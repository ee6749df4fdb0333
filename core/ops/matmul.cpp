#include "core/ops/conv.h"
#include "core/value/views.h"
#include "weft/precision.h"

namespace weft {

namespace {

// (B, m, k) x (B, k, n), one dtype.
Tensor batched(const Tensor& a, const Tensor& b) {
  Array out = Array::empty({a.shape()[0], a.shape()[1], b.shape()[2]}, a.dtype(), a.device());
  backend(a.device())->matmul(const_view(a.array()), const_view(b.array()), precision(), mutable_view(out));
  return record("matmul", std::move(out), {a, b}, {Save::input("a", 0), Save::input("b", 1)},
                [](const SavedValues& saved, const Tensor& g) {
                  return Values{saved.needs(0) ? batched(g, transpose(saved["b"], 1, 2)) : Tensor(),
                                saved.needs(1) ? batched(transpose(saved["a"], 1, 2), g) : Tensor()};
                });
}

}  // namespace

Tensor matmul(const Tensor& left, const Tensor& right) {
  common_device("matmul", {left, right});
  const Tensor a = autocast(left), b = autocast(right);
  const DType dtype = promote(a.dtype(), b.dtype());
  check_computes("matmul", dtype, a.device());
  if (dtype == DType::boolean) throw DTypeError("matmul: takes numbers, not bool");
  const auto fail = [&] {
    throw ShapeError("matmul: shapes " + to_string(a.shape()) + " and " + to_string(b.shape()) + " do not fit");
  };
  if (a.rank() == 0 || b.rank() == 0) fail();
  Tensor x = a.to(dtype);
  Tensor y = b.to(dtype);
  if (a.rank() == 1) x = unsqueeze(x, 0);
  if (b.rank() == 1) y = unsqueeze(y, 1);
  const std::int64_t m = x.size(-2);
  const std::int64_t k = x.size(-1);
  const std::int64_t n = y.size(-1);
  if (y.size(-2) != k) fail();

  const auto leading = [](const Tensor& t) {
    return Shape(std::span(t.shape().begin(), static_cast<std::size_t>(t.rank() - 2)));
  };
  Shape out = layout::broadcast("matmul", leading(x), leading(y));
  Tensor product;
  if (leading(y).empty()) {  // one matrix on the right: all rows of the left form one matrix
    Shape rows = leading(x);
    rows.push_back(m);
    product = batched(reshape(x, {1, element_count(rows), k}), unsqueeze(y, 0));
  } else {
    const auto rank3 = [&](const Tensor& t, std::int64_t rows, std::int64_t columns) {
      Shape wide = out;
      wide.push_back(rows);
      wide.push_back(columns);
      return reshape(expand(t, wide), {element_count(out), rows, columns});
    };
    product = batched(rank3(x, m, k), rank3(y, k, n));
  }
  if (a.rank() != 1) out.push_back(m);
  if (b.rank() != 1) out.push_back(n);
  return reshape(product, out);
}

namespace {

// Whether backends have the convolution that a linear layer is: a floating dtype that conv_parameter takes, one device.
bool is_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const auto alike = [&](const Tensor& t) { return autocast_dtype(t) == x.dtype() && t.device() == x.device(); };
  return is_floating_point(x.dtype()) && backend(x.device()).unlocked().computes(x.dtype()) && alike(weight) &&
         (!bias.defined() || alike(bias));
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_rank("linear", "weight", weight, 2);
  if (x.rank() == 0 || x.size(-1) != weight.shape()[1]) {
    throw ShapeError("linear: input " + to_string(x.shape()) + " does not end in the " +
                     std::to_string(weight.shape()[1]) + " features of weight " + to_string(weight.shape()));
  }
  if (bias.defined() && !(bias.shape() == Shape{weight.shape()[0]})) {
    throw ShapeError("linear: bias " + to_string(bias.shape()) + " does not have the " +
                     std::to_string(weight.shape()[0]) + " outputs of weight " + to_string(weight.shape()));
  }
  const Tensor in = autocast(x);
  if (!is_convolution(in, weight, bias)) {
    const Tensor y = matmul(in, transpose(weight, 0, 1));
    return bias.defined() ? add(y, autocast(bias)) : y;
  }
  const Tensor w = conv_parameter("linear", in, weight), b = bias.defined() ? conv_parameter("linear", in, bias) : bias;
  Shape leading(std::span(in.shape().begin(), static_cast<std::size_t>(in.rank() - 1)));
  Convolution c;
  c.shape.n = element_count(leading);
  c.shape.c = w.size(1);
  c.shape.k = w.size(0);
  if (in.rank() == 2) return conv_forward(c, in, w, b);
  leading.push_back(c.shape.k);
  return reshape(conv_forward(c, reshape(in, {c.shape.n, c.shape.c}), w, b), leading);
}

}  // namespace weft
