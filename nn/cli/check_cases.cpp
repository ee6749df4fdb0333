#include <algorithm>

#include "cli/check.h"

namespace weft::cli::check {

std::vector<Family> families(bool gpu) {
  std::vector<Family> all;
  add_elementwise(all);
  add_arrays(all);
  add_products(all);
  add_convolutions(all);
  add_layers(all);
  add_training(all);
  if (!gpu) {
    for (Family& family : all) std::erase_if(family.cases, [](const Case& c) { return c.only_gpu; });
    std::erase_if(all, [](const Family& family) { return family.cases.empty(); });
  }
  return all;
}

DType computed(DType dtype, const Device& device) {
  return dtype == DType::bf16 && device.is_cpu() ? DType::f32 : dtype;
}

double bound_of(DType dtype) { return dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 3e-6 : 1e-2; }

namespace {

/// A whole number in [0, 256) by a linear congruential generator, whose high digits are the random ones.
class Draws {
 public:
  explicit Draws(unsigned seed) : state_(seed * 2654435761u + 12345u) {}
  int next() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<int>(state_ >> 24);
  }

 private:
  std::uint32_t state_;
};

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

}  // namespace

Tensor draw(const Shape& shape, DType dtype, const Device& device, unsigned seed, bool positive) {
  Draws draws(seed);
  const bool floats = is_floating_point(dtype);
  std::vector<double> values(static_cast<std::size_t>(count_of(shape)));
  for (double& value : values) {
    const int number = draws.next();
    const double whole = positive || dtype == DType::u8 ? number / 2 + 1 : number - 128;
    value = dtype == DType::boolean ? number % 2 : floats ? whole / 64 : whole;
  }
  return Tensor::from(std::span<const double>(values), shape, {.dtype = computed(dtype, device)}).to(device);
}

Tensor draw_leaf(const Shape& shape, DType dtype, const Device& device, unsigned seed, bool positive) {
  return Tensor(draw(shape, dtype, device, seed, positive).array(), true);
}

Tensor draw_labels(const Shape& shape, std::int64_t classes, const Device& device, unsigned seed) {
  Draws draws(seed);
  std::vector<std::int64_t> values(static_cast<std::size_t>(count_of(shape)));
  for (std::int64_t& value : values) value = draws.next() % classes;
  return Tensor::from(std::span<const std::int64_t>(values), shape).to(device);
}

Tensors with_gradients(const Tensor& y, const Tensors& inputs) {
  const DType dtype = y.dtype();
  y.backward(draw(y.shape(), dtype, y.device(), 99));
  Tensors results{y.detach()};
  for (const Tensor& input : inputs) {
    if (input.requires_grad()) results.push_back(input.grad());
  }
  return results;
}

}  // namespace weft::cli::check
