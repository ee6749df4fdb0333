#include "cli/check.h"

// Copies, sums and random numbers: cuda/array/gather.cu, cuda/array/reduce.cu, cuda/array/random.cu and the transfers.

namespace weft::cli::check {

namespace {

Family copy_family() {
  Family family{"copies", {}};
  const auto add = [&family](const std::string& what, const std::function<Tensors(const Tensor&)>& f) {
    for (const DType dtype : {DType::u8, DType::i64, DType::f32, DType::bf16}) {
      family.cases.push_back({what + " " + std::string(name(dtype)), kBits,
                              [f, dtype](const Device& device) {
                                return f(draw({6, 5, 9, 7}, dtype, device, 20));
                              },
                              only_gpu(dtype)});
    }
  };
  add("there and back", [](const Tensor& x) { return Tensors{x}; });
  add("clone", [](const Tensor& x) { return Tensors{clone(x)}; });
  add("transposed", [](const Tensor& x) { return Tensors{x.transpose(0, 3).contiguous()}; });
  add("permuted", [](const Tensor& x) { return Tensors{x.permute({0, 2, 3, 1}).contiguous()}; });
  add("sliced", [](const Tensor& x) { return Tensors{x.slice(2, 1, 8, 3).contiguous()}; });
  add("flipped", [](const Tensor& x) { return Tensors{x.flip({1, 3}).contiguous()}; });
  add("expanded", [](const Tensor& x) { return Tensors{x.slice(0, 0, 1).expand({4, 5, 9, 7}).contiguous()}; });
  add("concatenated", [](const Tensor& x) { return Tensors{concatenate({x, x.flip(0)}, 1), stack({x, x}, 2)}; });
  add("padded", [](const Tensor& x) {
    return Tensors{pad(x, {{0, 0}, {1, 0}, {2, 1}, {0, 3}}),
                   pad(x, {{0, 0}, {0, 0}, {2, 2}, {1, 1}}, PadMode::reflect)};
  });
  add("dilated", [](const Tensor& x) { return Tensors{dilate(x, {2, 3}, 2), undilate(x, {2, 3}, 1)}; });
  family.cases.push_back({"filled", kBits, [](const Device& device) {
                            const TensorOptions f32{.dtype = DType::f32, .device = device};
                            return Tensors{full({1001}, 1.5, f32), arange(-3, 4, 0.25, f32),
                                           arange(0, 1001, 1, {.dtype = DType::i64, .device = device}), eye(9, 5, f32),
                                           one_hot(draw_labels({40}, 7, device, 21), 7)};
                          }});
  // Nine megabytes: more than one page-locked buffer takes.
  family.cases.push_back({"a large one there and back", kBits, [](const Device& device) {
                            return Tensors{draw({9 << 20}, DType::u8, device, 22).slice(0, 5, 9000000)};
                          }});
  family.cases.push_back({"gradients of views", bound_of(DType::f32), [](const Device& device) {
                            const Tensor x = draw_leaf({4, 3, 8, 6}, DType::f32, device, 23);
                            const Tensor y = as_strided(x.contiguous(), {4, 3, 3, 3, 3}, {144, 48, 6, 2, 1});
                            return with_gradients(y.flip(2), {x});
                          }});
  return family;
}

Family reduction_family() {
  Family family{"sums and extremes", {}};
  struct Reduction {
    const char* name;
    Tensor (*function)(const Tensor&, const Axes&);
    bool exact;  ///< for whole numbers and extremes
  };
  static const Reduction kReductions[] = {
      {"sum", [](const Tensor& x, const Axes& axes) { return sum(x, axes); }, false},
      {"mean", [](const Tensor& x, const Axes& axes) { return mean(x, axes); }, false},
      {"max", [](const Tensor& x, const Axes& axes) { return max(x, axes); }, true},
      {"min", [](const Tensor& x, const Axes& axes) { return min(x, axes); }, true},
      {"var", [](const Tensor& x, const Axes& axes) { return var(x, axes); }, false},
      {"logsumexp", [](const Tensor& x, const Axes& axes) { return logsumexp(x, axes); }, false},
  };
  for (const Reduction& row : kReductions) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({std::string(row.name) + " " + std::string(name(dtype)),
                              row.exact ? kBits : bound_of(dtype),
                              [&row, dtype](const Device& device) {
                                const Tensor x = draw({13, 7, 301}, dtype, device, 30);
                                return Tensors{row.function(x, Axes::all()), row.function(x, {0}), row.function(x, {2}),
                                               row.function(x, {0, 2}), row.function(x.transpose(0, 2), {1})};
                              },
                              only_gpu(dtype)});
    }
    family.cases.push_back(
        {std::string(row.name) + " f32 and its gradient", bound_of(DType::f32), [&row](const Device& device) {
           const Tensor x = draw_leaf({9, 4, 65}, DType::f32, device, 31);
           return with_gradients(row.function(x, {2}), {x});
         }});
  }
  for (const DType dtype : {DType::u8, DType::i32, DType::i64, DType::f32, DType::f64}) {
    family.cases.push_back({"whole sums and places " + std::string(name(dtype)), kBits, [dtype](const Device& device) {
                              // Whole numbers, whose sums are exact in every dtype.
                              const Tensor x = draw({19, 257}, DType::u8, device, 32).to(dtype);
                              return Tensors{sum(x),       sum(x, {0}),  sum(x, {1}), argmax(x),
                                             argmax(x, 0), argmin(x, 1), max(x, {1})};
                            }});
  }
  return family;
}

Family random_family() {
  Family family{"random numbers", {}};
  const auto add = [&family](const char* what, double bound, const std::function<Tensors(const Device&)>& f) {
    family.cases.push_back({what, bound, [f](const Device& device) {
                              manual_seed(40);
                              return f(device);
                            }});
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    add(dtype == DType::f32 ? "uniform f32" : "uniform f64", kBits, [dtype](const Device& device) {
      return Tensors{rand({1003}, {.dtype = dtype, .device = device}),
                     rand({7, 31}, {.dtype = dtype, .device = device}, -2, 3)};
    });
    add(dtype == DType::f32 ? "normal f32" : "normal f64", bound_of(dtype),
        [dtype](const Device& device) { return Tensors{randn({1003}, {.dtype = dtype, .device = device})}; });
  }
  add("integers", kBits, [](const Device& device) {
    return Tensors{randint(-5, 100, {1003}, {.dtype = DType::i64, .device = device}),
                   randint(0, 200, {333}, {.dtype = DType::u8, .device = device})};
  });
  add("dropout", kBits, [](const Device& device) {
    const Tensor x = draw_leaf({37, 41}, DType::f32, device, 41);
    return with_gradients(dropout(x, 0.25), {x});
  });
  return family;
}

}  // namespace

void add_arrays(std::vector<Family>& families) {
  families.push_back(copy_family());
  families.push_back(reduction_family());
  families.push_back(random_family());
}

}  // namespace weft::cli::check
