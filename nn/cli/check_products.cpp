#include "cli/check.h"

// Matrix products: cuda/matmul/matmul.cu for whole numbers, cuBLASLt (cuda/matmul/gemm.cpp) for the rest, and linear
// layers.

namespace weft::cli::check {

namespace {

/// As bound_of, for products whose operands are rounded to TF32.
constexpr double kTf32 = 2e-3;

struct Sizes {
  const char* name;
  Shape a, b;
  bool a_transposed = false, b_transposed = false;  ///< the two last axes, in memory
};

Tensor last_axes_swapped(const Tensor& x) { return x.transpose(x.rank() - 2, x.rank() - 1); }

Tensors product(const Sizes& sizes, DType dtype, const Device& device) {
  const Tensor a = draw_leaf(sizes.a, dtype, device, 50), b = draw_leaf(sizes.b, dtype, device, 51);
  const Tensor y = matmul(sizes.a_transposed ? last_axes_swapped(a) : a, sizes.b_transposed ? last_axes_swapped(b) : b);
  return with_gradients(y, {a, b});
}

Family matmul_family() {
  Family family{"matrix products", {}};
  static const Sizes kSizes[] = {
      {"square", {32, 32}, {32, 32}},
      {"odd", {17, 23}, {23, 5}},
      {"transposed", {23, 17}, {5, 23}, true, true},
      {"left transposed", {40, 24}, {40, 16}, true, false},
      {"deep", {8, 1000}, {1000, 8}},
      {"batch", {6, 9, 20}, {6, 20, 11}},
      {"broadcast batch", {4, 1, 9, 8}, {3, 8, 7}},
      {"rows and columns", {1, 64}, {64, 1}},
  };
  for (const Sizes& sizes : kSizes) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({std::string(sizes.name) + " " + std::string(name(dtype)), bound_of(dtype),
                              [&sizes, dtype](const Device& device) { return product(sizes, dtype, device); },
                              only_gpu(dtype)});
    }
    family.cases.push_back({std::string(sizes.name) + " tf32", kTf32,
                            [&sizes](const Device& device) {
                              const PrecisionGuard precise(Precision::tf32);
                              return product(sizes, DType::f32, device);
                            },
                            true});
  }
  return family;
}

Family whole_family() {
  Family family{"matrix products of whole numbers", {}};
  for (const DType dtype : {DType::u8, DType::i32, DType::i64}) {
    family.cases.push_back(
        {std::string(name(dtype)), kBits, [dtype](const Device& device) {
           return Tensors{
               matmul(draw({37, 50}, dtype, device, 52), draw({50, 21}, dtype, device, 53)),
               matmul(draw({3, 16, 16}, dtype, device, 54), draw({3, 16, 16}, dtype, device, 55).transpose(1, 2))};
         }});
  }
  return family;
}

Family linear_family() {
  Family family{"linear layers", {}};
  for (const bool with_bias : {true, false}) {
    for (const DType dtype : kFloats) {
      family.cases.push_back({std::string(name(dtype)) + (with_bias ? " with bias" : ""), bound_of(dtype),
                              [with_bias, dtype](const Device& device) {
                                const Tensor x = draw_leaf({3, 19, 40}, dtype, device, 56);
                                const Tensor weight = draw_leaf({10, 40}, dtype, device, 57);
                                const Tensor bias = with_bias ? draw_leaf({10}, dtype, device, 58) : Tensor();
                                const Tensor y = linear(x, weight, bias);
                                return with_gradients(y, with_bias ? Tensors{x, weight, bias} : Tensors{x, weight});
                              },
                              only_gpu(dtype)});
    }
  }
  return family;
}

}  // namespace

void add_products(std::vector<Family>& families) {
  families.push_back(matmul_family());
  families.push_back(whole_family());
  families.push_back(linear_family());
}

}  // namespace weft::cli::check
